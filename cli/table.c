/*
 * Tables for people; see table.h.
 */
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, size_t columns)
{
    AS_ASSERT(columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){.columns = columns};
}

void table_cell(struct table *table, const char *text)
{
    if (table->cells == table->cap) {
        char **larger = must_alloc(table->cap * 2 + 64, sizeof(*larger));

        if (table->cells)
            memcpy(larger, table->cell, table->cells * sizeof(*larger));
        free(table->cell);
        table->cell = larger;
        table->cap = table->cap * 2 + 64;
    }
    table->cell[table->cells++] = must_copy(text && *text ? text : "-");
}

void table_number(struct table *table, double number)
{
    char text[32];

    (void)text_format(text, sizeof(text), "%.0f", number);
    table_cell(table, text);
}

void table_print(struct table *table)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < table->cells; i++) {
        size_t len = strlen(table->cell[i]);

        if (len > width[i % table->columns])
            width[i % table->columns] = len;
    }
    for (size_t i = 0; i < table->cells; i++) {
        bool last = i % table->columns == table->columns - 1;

        printf("%-*s%s", last ? 0 : (int)width[i % table->columns], table->cell[i],
               last ? "\n" : "  ");
        free(table->cell[i]);
    }
    free(table->cell);
    *table = (struct table){0};
}
