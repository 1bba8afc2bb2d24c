/*
 * assent top: the terminal, by ANSI escapes that every terminal since the VT100 knows (and the
 * alternate screen, which others ignore). Fault model: Ctrl-C, Ctrl-Z, SIGTERM, SIGHUP at any
 * moment: the terminal is given back as it was.
 */
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/rest.h"
#include "cli/top.h"

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"
#define LINE_BYTES_MAX 512

static struct termios saved;
static bool keys;    /* stdin is a terminal, and `saved` is how it was */
static bool entered; /* our picture is on it */
static volatile sig_atomic_t over, suspended;

static void on_signal(int number)
{
    if (number == SIGTSTP)
        suspended = 1;
    else
        over = 1;
}

static void enter(void)
{
    struct termios raw = saved;

    if (keys) { /* Ctrl-C stays a signal */
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs(ENTER, stdout);
    (void)fflush(stdout);
    entered = true;
}

static void leave(void)
{
    if (!entered)
        return;
    entered = false;
    fputs(LEAVE, stdout);
    (void)fflush(stdout);
    if (keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

bool top_screen_is_terminal(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDOUT_FILENO) && (!kind || strcmp(kind, "dumb") != 0);
}

void top_screen_open(void)
{
    /* poll ends all the same (signal(7)); a picture that is being written goes on. */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)sigaction(SIGPIPE, &action, NULL);
    if (!top_screen_is_terminal())
        return;
    (void)sigaction(SIGTSTP, &action, NULL);
    keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
    (void)atexit(leave); /* an error of ours may end the program anywhere */
    enter();
}

void top_screen_close(void)
{
    leave();
}

/* Until somebody says `fg`. */
static void suspend(void)
{
    bool was = entered;

    suspended = 0;
    leave();
    (void)raise(SIGSTOP);
    if (was)
        enter();
}

bool top_screen_wait(uint64_t ms)
{
    as_time until = clock_now() + (as_time)ms * AS_MS;

    while (!over) {
        struct pollfd key = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
        as_time left = until - clock_now();
        char c;

        if (suspended)
            suspend();
        if (left <= 0)
            return true;
        if (poll(&key, 1, (int)(left / AS_MS) + 1) <= 0)
            continue;
        if (read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q')
            return false;
    }
    return false;
}

void top_screen_size(int *ret_rows, int *ret_columns)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        *ret_rows = size.ws_row;
        *ret_columns = size.ws_col;
    }
}

/* --- The picture --- */

struct page {
    int rows, columns; /* what is left of them; the whole width */
    bool ansi;
};

enum look { PLAIN, BOLD, BAD };

/* One line, cut at the edge. */
static void put_line(struct page *page, enum look look, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_line(struct page *page, enum look look, const char *format, ...)
{
    static const char *const begins[] = {"", "\033[1m", "\033[1;31m"};
    char text[LINE_BYTES_MAX];
    va_list args;

    if (page->rows-- <= 0)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if ((size_t)page->columns < strlen(text))
        text[page->columns] = '\0';
    if (page->ansi)
        printf("%s%s%s\033[K%s", begins[look], text, look == PLAIN ? "" : "\033[0m",
               page->rows > 0 ? "\r\n" : "");
    else
        puts(text);
}

/* Its number, or "-". */
static const char *figure(const cJSON *object, const char *key, int decimals, char ret_text[32])
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsNumber(item))
        return memcpy(ret_text, "-", 2);
    (void)snprintf(ret_text, 32, "%.*f", decimals, item->valuedouble);
    return ret_text;
}

static double number(const cJSON *object, const char *key)
{
    return json_number(object, key, 0);
}

static void put_summary(struct page *page, const cJSON *figures)
{
    char a[8][32];
    bool leads = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(figures, "leader"));

    if (leads)
        put_line(page, BOLD, "Assent %s  cluster %s  leader %s  term %s",
                 json_text(figures, "version", ""), json_text(figures, "cluster", ""),
                 figure(figures, "leader", 0, a[0]), figure(figures, "term", 0, a[1]));
    else
        put_line(page, BAD, "Assent %s  cluster %s  NO LEADER among the nodes that were asked",
                 json_text(figures, "version", ""), json_text(figures, "cluster", ""));
    put_line(page, PLAIN, "committed/s %10s   aborted/s %10s   undecided %8s   unfinished %8s",
             figure(figures, "committed_per_s", 1, a[0]), figure(figures, "aborted_per_s", 1, a[1]),
             figure(figures, "undecided", 0, a[2]), figure(figures, "unfinished", 0, a[3]));
    put_line(
        page,
        number(figures, "in_doubt") + number(figures, "orphaned") + number(figures, "heuristic") > 0
            ? BAD
            : PLAIN,
        "in doubt    %10s   orphaned  %10s   heuristic %8s", figure(figures, "in_doubt", 0, a[0]),
        figure(figures, "orphaned", 0, a[1]), figure(figures, "heuristic", 0, a[2]));
}

static void put_latencies(struct page *page, const cJSON *figures)
{
    static const struct {
        const char *key, *what;
    } rows[] = {{"answer", "POST until its answer"},
                {"prepare", "submit until the last vote"},
                {"decide", "last vote until the decision is durable"},
                {"finish", "decision until every branch is finished"}};

    put_line(page, PLAIN, "%s", "");
    put_line(page, BOLD, "%-42s %10s %10s", "LATENCY ms", "p50", "p99");
    for (size_t i = 0; i < AS_COUNT_OF(rows); i++) {
        const cJSON *row = cJSON_GetObjectItemCaseSensitive(figures, rows[i].key);
        char a[2][32];

        put_line(page, PLAIN, "%-42s %10s %10s", rows[i].what, figure(row, "p50_ms", 2, a[0]),
                 figure(row, "p99_ms", 2, a[1]));
    }
}

static void put_nodes(struct page *page, const cJSON *figures)
{
    const cJSON *node;

    put_line(page, PLAIN, "%s", "");
    put_line(page, BOLD, "%-4s %-10s %8s %12s %10s %12s %8s  %s", "NODE", "ROLE", "LAG",
             "REQUESTS/s", "SYNCS/s", "SYNC p99 ms", "MiB", "ADDRESS");
    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(figures, "nodes"))
    {
        const char *api = json_text(node, "api", "");
        char a[6][32];

        if (!json_true(node, "answers")) {
            put_line(page, BAD, "%-4s %-10s %62s %s  %s", "-", "NO ANSWER", "", api,
                     json_text(node, "why", ""));
            continue;
        }
        put_line(page, json_true(node, "disk_full") ? BAD : PLAIN,
                 "%-4s %-10s %8s %12s %10s %12s %8s  %s%s", figure(node, "id", 0, a[0]),
                 json_text(node, "role", ""), figure(node, "lag_entries", 0, a[1]),
                 figure(node, "requests_per_s", 1, a[2]), figure(node, "syncs_per_s", 1, a[3]),
                 figure(cJSON_GetObjectItemCaseSensitive(node, "sync"), "p99_ms", 2, a[4]),
                 figure(node, "resident_mib", 0, a[5]), api,
                 json_true(node, "disk_full") ? "  DISK FULL" : "");
    }
}

static void put_participants(struct page *page, const cJSON *figures)
{
    const cJSON *one;

    put_line(page, PLAIN, "%s", "");
    put_line(page, BOLD, "%-20s %-5s %9s %10s %8s %8s %8s %6s %11s %8s", "PARTICIPANT", "STATE",
             "UNDECIDED", "UNFINISHED", "PREPARED", "IN DOUBT", "ORPHANED", "QUEUED", "SLOTS",
             "OLDEST s");
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(figures, "participants"))
    {
        bool up = json_true(one, "up");
        char a[9][32], slots[80];

        (void)snprintf(slots, sizeof(slots), "%s/%s", figure(one, "slots_used", 0, a[0]),
                       figure(one, "slots", 0, a[1]));
        put_line(page, !up || number(one, "in_doubt") + number(one, "orphaned") > 0 ? BAD : PLAIN,
                 "%-20.20s %-5s %9s %10s %8s %8s %8s %6s %11s %8s", json_text(one, "name", ""),
                 up ? "up" : "DOWN", figure(one, "undecided", 0, a[2]),
                 figure(one, "unfinished", 0, a[3]), figure(one, "prepared", 0, a[4]),
                 figure(one, "in_doubt", 0, a[5]), figure(one, "orphaned", 0, a[6]),
                 figure(one, "queued", 0, a[7]), slots, figure(one, "oldest_s", 1, a[8]));
    }
}

/* What the standing audit of each database says; "-": an older agent does not tell. */
static void put_audits(struct page *page, const cJSON *figures)
{
    const cJSON *one;

    put_line(page, PLAIN, "%s", "");
    put_line(page, BOLD, "%-20s %10s %10s %10s %8s %10s %10s %10s", "PREPARED, BY AUDIT",
             "OLDEST s", "XMIN AGE", "SLOTS OURS", "FOREIGN", "OLDEST s", "XMIN AGE", "AUDITED s");
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(figures, "participants"))
    {
        char a[7][32];

        put_line(page, PLAIN, "%-20.20s %10s %10s %10s %8s %10s %10s %10s",
                 json_text(one, "name", ""), figure(one, "oldest_s", 1, a[0]),
                 figure(one, "xmin_age", 0, a[1]), figure(one, "slots_ours", 0, a[2]),
                 figure(one, "foreign", 0, a[3]), figure(one, "foreign_oldest_s", 1, a[4]),
                 figure(one, "foreign_xmin_age", 0, a[5]), figure(one, "audit_age_s", 1, a[6]));
    }
}

void top_print(const cJSON *figures, int rows, int columns, bool ansi)
{
    struct page page = {rows, columns, ansi};

    if (ansi)
        fputs("\033[H", stdout);
    put_summary(&page, figures);
    put_latencies(&page, figures);
    put_nodes(&page, figures);
    put_participants(&page, figures);
    put_audits(&page, figures);
    if (ansi)
        fputs("\033[J", stdout);
    else
        puts("");
    (void)fflush(stdout);
}
