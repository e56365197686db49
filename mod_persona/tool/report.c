/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file report.c
 * @brief A backtest as one HTML page: no script, no request; light or dark as the reader's system is.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>

#include "report.h"

#define PLOTS_MOST 8
#define WIDTH      920.0
#define HEIGHT     180.0
#define LEFT       44.0
#define BOTTOM     22.0
#define TOP        8.0

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Backtest</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><style>\n"
    ":root{color-scheme:light dark;--back:#fff;--text:#1d2330;--faint:#6b7280;--line:#d5d9e0;--bar:#9db4d6;"
    "--band:#dbe7f8;--mean:#2b62b8;--pool:#1a7f4b;--ready:#8fce9f;--miss:#c2261b}\n"
    "@media(prefers-color-scheme:dark){:root{"
    "--back:#14171d;--text:#e4e7ec;--faint:#98a1b0;--line:#343a46;--bar:#4b648c;"
    "--band:#22324d;--mean:#7aa7ee;--pool:#52c487;--ready:#2f6b45;--miss:#ff7367}}\n"
    "body{background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;"
    "padding:0 1em}\n"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;border-bottom:1px solid var(--line);"
    "text-align:right}td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}\n"
    "tr.ours{font-weight:600}h2{margin:1.6em 0 .2em;font-size:1.15em}p,figcaption{color:var(--faint)}"
    "figure{margin:.6em 0}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--faint);font-size:11px}\n"
    ".axis{stroke:var(--line)}.bar{fill:var(--bar)}.miss{fill:var(--miss)}.band{fill:var(--band)}"
    ".mean,.pool,.ready{fill:none;stroke-width:1.4}.mean{stroke:var(--mean)}.pool{stroke:var(--pool)}"
    ".ready{stroke:var(--ready)}\n"
    "i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 .8em}\n"
    "</style></head><body>\n";

static void text(FILE *out, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, out);
        }
    }
}

static const char *date(double at, const char *format, apr_pool_t *p)
{
    time_t seconds = (time_t)at;
    char buffer[64];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(buffer, sizeof(buffer), format, &tm);
    return apr_pstrdup(p, buffer);
}

/* ---- plots ---- */

/** Where a value lies in a plot: from..to in seconds, 0..most upwards. */
typedef struct plot_t {
    FILE *out;
    double from, to, most;
    apr_pool_t *p;
} plot_t;

static double x_of(const plot_t *plot, double at)
{
    return LEFT + (WIDTH - LEFT) * (at - plot->from) / (plot->to - plot->from);
}

static double y_of(const plot_t *plot, double value)
{
    double share = value / plot->most;

    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (share > 1 ? 1 : share));
}

/** 1, 2 or 5 times a power of ten that is not less. */
static double round_up(double value)
{
    double power = pow(10, floor(log10(value > 1 ? value : 1)));

    return value <= power ? power : value <= 2 * power ? 2 * power : value <= 5 * power ? 5 * power : 10 * power;
}

static void begin_plot(const plot_t *plot, const char *label)
{
    int k;

    fprintf(plot->out, "<figure><svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    text(plot->out, label);
    fputs("\">", plot->out);
    for (k = 0; k <= 2; k++) {
        double value = plot->most * k / 2, y = y_of(plot, value);

        fprintf(plot->out, "<line class=\"axis\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%g\" "
                           "y=\"%.1f\" text-anchor=\"end\">%g</text>", LEFT, WIDTH, y, y, LEFT - 6, y + 4, value);
    }
    for (k = 0; k < 7; k++) {
        double at = plot->from + (plot->to - plot->from) * k / 7;

        fprintf(plot->out, "<text x=\"%.1f\" y=\"%g\">%s</text>", x_of(plot, at), HEIGHT - 6,
                date(at, plot->to - plot->from > 8 * 86400 ? "%Y-%m-%d" : "%a %m-%d %H:%M", plot->p));
    }
}

static void end_plot(const plot_t *plot, const char *caption)
{
    fprintf(plot->out, "</svg><figcaption>%s</figcaption></figure>\n", caption);
}

static void bar(const plot_t *plot, const char *class, double at, double width, double value)
{
    double y = y_of(plot, value), x = x_of(plot, at), right = x_of(plot, at + width) - .4;

    if (value > 0) {
        fprintf(plot->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", class, x, y,
                right - x > .6 ? right - x : .6, y_of(plot, 0) - y);
    }
}

static void plot_days(FILE *out, const persona_backtest_series_t *s, apr_pool_t *p)
{
    const persona_backtest_day_t *day = (const persona_backtest_day_t *)s->days->elts;
    int n = s->days->nelts, k;
    plot_t plot = {out, day[0].at, day[n - 1].at + 86400, 1, p};

    for (k = 0; k < n; k++) {
        plot.most = day[k].arrivals > plot.most ? day[k].arrivals : plot.most;
    }
    plot.most = round_up(plot.most);
    begin_plot(&plot, "arrivals and misses by day");
    for (k = 0; k < n; k++) {
        bar(&plot, "bar", day[k].at, 86400, day[k].arrivals);
        bar(&plot, "miss", day[k].at, 86400, day[k].misses);
    }
    end_plot(&plot, "Each day: <i style=\"background:var(--bar)\"></i>arrivals<i style=\"background:var(--miss)\">"
                    "</i>of these, misses");
}

static double value_of(const persona_backtest_quarter_t *q, int which)
{
    return which == 0 ? q->expected : which == 1 ? q->target : q->ready;
}

/** A step line; a gap in time is one in the line. */
static void line(const plot_t *plot, const persona_backtest_series_t *s, const char *class, int which)
{
    int k;

    fprintf(plot->out, "<path class=\"%s\" d=\"", class);
    for (k = 0; k < s->quarters; k++) {
        const persona_backtest_quarter_t *q = &s->quarter[k];
        double y = y_of(plot, value_of(q, which));
        int joined = k && q->at - s->quarter[k - 1].at <= 900;

        fprintf(plot->out, "%c%.1f %.1fH%.1f", joined ? 'L' : 'M', x_of(plot, q->at), y, x_of(plot, q->at + 900));
    }
    fputs("\"/>", plot->out);
}

static void plot_week(FILE *out, const persona_backtest_series_t *s, apr_pool_t *p)
{
    plot_t plot = {out, s->quarter[0].at, s->quarter[s->quarters - 1].at + 900, 1, p};
    int k;

    for (k = 0; k < s->quarters; k++) {
        const persona_backtest_quarter_t *q = &s->quarter[k];

        plot.most = q->arrivals > plot.most ? q->arrivals : plot.most;
        plot.most = q->high > plot.most ? q->high : plot.most;
    }
    plot.most = round_up(plot.most);
    begin_plot(&plot, "forecast and arrivals of the last week");
    for (k = 0; k < s->quarters; k++) {
        const persona_backtest_quarter_t *q = &s->quarter[k];
        double top = y_of(&plot, q->high), bottom = y_of(&plot, q->low);

        fprintf(out, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", x_of(&plot, q->at),
                top, x_of(&plot, q->at + 900) - x_of(&plot, q->at), bottom - top > .5 ? bottom - top : .5);
    }
    for (k = 0; k < s->quarters; k++) {
        bar(&plot, "bar", s->quarter[k].at, 900, s->quarter[k].arrivals);
        bar(&plot, "miss", s->quarter[k].at, 900, s->quarter[k].misses);
    }
    line(&plot, s, "mean", 0);
    end_plot(&plot, "The last week by quarter hours: <i style=\"background:var(--band)\"></i>5 to 95 % as foretold"
                    "<i style=\"background:var(--mean)\"></i>expected<i style=\"background:var(--bar)\"></i>arrivals"
                    "<i style=\"background:var(--miss)\"></i>of these, misses");
    plot.most = 1;
    for (k = 0; k < s->quarters; k++) {
        plot.most = s->quarter[k].target > plot.most ? s->quarter[k].target : plot.most;
    }
    plot.most = round_up(plot.most);
    begin_plot(&plot, "the pool of the last week");
    line(&plot, s, "ready", 2);
    line(&plot, s, "pool", 1);
    end_plot(&plot, "The pool: <i style=\"background:var(--pool)\"></i>target<i style=\"background:var(--ready)\"></i>"
                    "ready");
}

/* ---- the page ---- */

static void table(FILE *out, const persona_report_t *r)
{
    int k;

    fputs("<table><tr><th>Policy</th><th>Hit rate</th><th>Mean wait</th><th>Longest</th><th>Idle hours</th>"
          "<th>Cost, hours</th><th>Setting</th></tr>\n", out);
    for (k = 0; k < r->count; k++) {
        const persona_outcome_t *o = &r->rows[k].outcome;
        double claims = o->claims ? (double)o->claims : 1;

        fprintf(out, "<tr%s><td>%s</td><td>%.4f</td><td>%.2f s</td><td>%.0f s</td><td>%.1f</td><td>%.1f</td><td>",
                k ? "" : " class=\"ours\"", r->rows[k].policy, (double)o->hits / claims, o->waited / claims, o->longest,
                o->idle / 3600, r->rows[k].cost / 3600);
        text(out, o->setting);
        fputs("</td></tr>\n", out);
    }
    fputs("</table>\n", out);
}

typedef struct place_t {
    int index, arrivals;
} place_t;

static int by_arrivals(const void *a, const void *b)
{
    const place_t *x = a, *y = b;

    return x->arrivals != y->arrivals ? (x->arrivals < y->arrivals) - (x->arrivals > y->arrivals) : x->index - y->index;
}

void persona_report_write(FILE *out, const persona_report_t *r, const persona_backtest_t *backtest, apr_pool_t *p)
{
    persona_backtest_series_t *series = apr_palloc(p, sizeof(*series));
    int n = persona_backtest_personas(backtest), k, day;
    place_t *places = apr_pcalloc(p, (apr_size_t)(n + 1) * sizeof(*places));

    fputs(head, out);
    fputs("<h1>Backtest of ", out);
    text(out, r->source);
    fprintf(out, "</h1>\n<p>%ld arrivals at %d personas from %s to %s UTC. A boot takes %g s. Goal: %s. "
                 "A wait is charged at %.1f idle minutes. The forecast learned on the way, from its first day; of the "
                 "others the best of up to some hundred settings is shown, chosen for each persona in hindsight on "
                 "this very history.</p>\n",
            r->rows[0].outcome.claims, n, date(r->first, "%Y-%m-%d %H:%M", p), date(r->last, "%Y-%m-%d %H:%M", p),
            r->lead, r->goal, r->price / 60);
    table(out, r);
    for (k = 0; k < n; k++) {
        persona_backtest_series(backtest, k, series);
        places[k].index = k;
        for (day = 0; day < series->days->nelts; day++) {
            places[k].arrivals += APR_ARRAY_IDX(series->days, day, persona_backtest_day_t).arrivals;
        }
    }
    qsort(places, (size_t)n, sizeof(*places), by_arrivals);
    for (k = 0; k < n && k < PLOTS_MOST; k++) {
        persona_backtest_series(backtest, places[k].index, series);
        fputs("<h2>", out);
        text(out, series->id);
        fprintf(out, "</h2>\n<p>%d arrivals</p>\n", places[k].arrivals);
        plot_days(out, series, p);
        if (series->quarters) {
            plot_week(out, series, p);
        }
    }
    if (n > PLOTS_MOST) {
        fprintf(out, "<p>%d personas with fewer arrivals are not drawn.</p>\n", n - PLOTS_MOST);
    }
    fputs("</body></html>\n", out);
}
