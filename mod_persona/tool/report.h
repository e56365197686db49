/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file report.h
 * @brief A backtest as one HTML page that needs nothing else: table, and plots as SVG.
 */
#ifndef PERSONA_TOOL_REPORT_H
#define PERSONA_TOOL_REPORT_H

#include <stdio.h>

#include "forecast/backtest.h"

/** One row of the comparison. */
typedef struct persona_report_row_t {
    const char *policy;
    persona_outcome_t outcome;
    double cost;               /**< idle seconds, and the price of all waits */
} persona_report_row_t;

typedef struct persona_report_t {
    const char *source;        /**< name of the history */
    double first, last;        /**< of its arrivals, in seconds since the epoch */
    double lead, price;        /**< seconds; of a wait, in idle seconds */
    const char *goal;          /**< "a hit rate of 0.99", "a wait costs 20 idle minutes" */
    const persona_report_row_t *rows;
    int count;
} persona_report_t;

/** Plots of the personas with the most arrivals; the whole history by day, and its last week. */
void persona_report_write(FILE *out, const persona_report_t *report, const persona_backtest_t *backtest, apr_pool_t *p);

#endif
