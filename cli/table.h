/*
 * Tables for people: cells gathered row by row, printed with columns as wide as they need to be.
 */
#ifndef ASSENT_CLI_TABLE_H
#define ASSENT_CLI_TABLE_H

#include "cli/cli.h"

#define TABLE_COLUMNS_MAX 16

struct table {
    size_t columns;
    size_t cells, cap;
    char **cell; /* row by row, the titles first */
};

void table_init(struct table *table, size_t columns);
void table_cell(struct table *table, const char *text);
void table_number(struct table *table, double number);
/* Prints it and frees what it holds. */
void table_print(struct table *table);

#endif
