/*
 * GET /: names the routes for a person with a browser.
 */
#include "coordinator/api/answer.h"

void answer_page(struct as_buf *buf)
{
    JSON_PUT(
        buf,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Assent</title>\n"
        "<style>body{font:16px/1.5 sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}"
        "code{font-size:.95em}td{padding:.15rem 1rem .15rem 0;vertical-align:top}</style></head>\n"
        "<body><h1>Assent</h1>\n"
        "<p>A coordinator node: one transaction out of work done in several databases.</p>\n"
        "<table>\n");
    JSON_PUT(
        buf,
        "<tr><td><code>POST /v1/transactions</code></td><td>run one, all or nothing</td></tr>\n"
        "<tr><td><code><a href=\"/v1/transactions\">GET /v1/transactions</a></code></td>"
        "<td>list: <code>?state=&amp;participant=&amp;limit=&amp;after=</code></td></tr>\n"
        "<tr><td><code>GET /v1/transactions/{id}</code></td>"
        "<td>look one up: <code>?wait_ms=</code></td></tr>\n"
        "<tr><td><code>POST /v1/transactions/{id}/branches/{n}/acknowledge</code></td>"
        "<td>close a heuristic outcome</td></tr>\n"
        "<tr><td><code><a href=\"/v1/participants\">GET /v1/participants</a></code></td>"
        "<td>databases and their agents</td></tr>\n");
    JSON_PUT(buf, "<tr><td><code><a href=\"/v1/cluster\">GET /v1/cluster</a></code></td>"
                  "<td>coordinator nodes, as this one sees them</td></tr>\n"
                  "<tr><td><code><a href=\"/healthz\">GET /healthz</a></code></td>"
                  "<td>this process is up</td></tr>\n"
                  "<tr><td><code><a href=\"/readyz\">GET /readyz</a></code></td>"
                  "<td>this node takes work</td></tr>\n"
                  "<tr><td><code><a href=\"/metrics\">GET /metrics</a></code></td>"
                  "<td>Prometheus</td></tr>\n"
                  "<tr><td><code><a href=\"/openapi.yaml\">GET /openapi.yaml</a></code></td>"
                  "<td>this API, described</td></tr>\n"
                  "</table></body></html>\n");
}
