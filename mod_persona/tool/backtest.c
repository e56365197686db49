/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file backtest.c
 * @brief personactl backtest: a history of arrivals through the learned model, at full speed.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "forecast/backtest.h"
#include "persona/text.h"
#include "report.h"
#include "tool.h"

#define LINE_MAX_LEN 1024
#define FIELDS       5
#define GOAL_LEN     80
/* Targets go on for this long after the last event. */
#define TAIL_SECONDS (2 * 86400.0)
#define PROGRESS_EVERY 4096

enum { OPTION_EVENTS = 256, OPTION_LEAD, OPTION_KAPPA, OPTION_HIT_RATE, OPTION_TARGETS, OPTION_WAIT_COST,
       OPTION_COMPARE, OPTION_REPORT };

typedef struct job_t {
    const char *events;     /* file name */
    double lead, kappa, hit_rate, wait_cost;
    int compare;
    FILE *in, *out;
    off_t size;
    int progress;           /* stderr is a terminal */
    long line;
    double first, last;
} job_t;

static void write_target(void *baton, double at, const char *persona, int target)
{
    fprintf(((job_t *)baton)->out, "%.3f,%s,%d\n", at, persona, target);
}

static void show_progress(const job_t *job, long claims)
{
    static const char bar[] = "########################################";
    int width = (int)sizeof(bar) - 1, done;
    off_t at = ftello(job->in);

    if (!job->progress || job->size <= 0) {
        return;
    }
    done = (int)(at * width / job->size);
    fprintf(stderr, "\r[%-*.*s] %3d %%  %ld arrivals", width, done, bar, (int)(at * 100 / job->size), claims);
}

/** Splits a line at its commas in place; gives the number of fields. */
static int split(char *line, char **field)
{
    int n = 0;

    line[strcspn(line, "\r\n")] = '\0';
    while (n < FIELDS && line) {
        char *comma = strchr(line, ',');

        field[n++] = line;
        if (comma) {
            *comma++ = '\0';
        }
        line = comma;
    }
    return line ? FIELDS + 1 : n;
}

static int number(const char *text, double *value)
{
    char *end;

    errno = 0;
    *value = strtod(text, &end);
    return end != text && !*end && !errno && isfinite(*value);
}

/** Says on stderr what is wrong with the current line. */
static int bad_line(const job_t *job, const char *wrong)
{
    fprintf(stderr, "personactl: %s:%ld: %s; a line is t,persona,user,role,duration, sorted by t\n",
            job->events, job->line, wrong);
    return PERSONA_TOOL_PROBLEMS;
}

static int replay(job_t *job, persona_backtest_t *backtest)
{
    char line[LINE_MAX_LEN], *field[FIELDS];
    double at, duration;
    long claims = 0;

    while (fgets(line, sizeof(line), job->in)) {
        job->line++;
        if (!strchr(line, '\n') && !feof(job->in)) {
            return bad_line(job, "this line is too long");
        }
        if (split(line, field) != FIELDS) {
            return bad_line(job, "not five fields");
        }
        if (job->line == 1 && strcmp(field[0], "t") == 0) {
            continue;
        }
        if (!number(field[0], &at) || at < 0) {
            return bad_line(job, "t is no time in seconds");
        }
        if (!*field[1] || strlen(field[1]) > PERSONA_NAME_MAX) {
            return bad_line(job, "the persona is empty or too long");
        }
        if (!number(*field[4] ? field[4] : "0", &duration) || duration < 0) {
            return bad_line(job, "the duration is no number of seconds");
        }
        if (persona_backtest_event(backtest, at, field[1], field[2], duration) != APR_SUCCESS) {
            return bad_line(job, "earlier than the line before");
        }
        job->first = claims ? job->first : at;
        job->last = at;
        if (++claims % PROGRESS_EVERY == 0) {
            show_progress(job, claims);
        }
    }
    if (ferror(job->in)) {
        return bad_line(job, "cannot be read");
    }
    persona_backtest_run(backtest, job->last);
    show_progress(job, claims);
    if (job->progress) {
        fputc('\n', stderr);
    }
    return PERSONA_TOOL_OK;
}

static int option_number(const persona_tool_args_t *args, const char *name, double low, double high, double *value)
{
    const char *text = apr_table_get(args->options, name);

    if (text && (!number(text, value) || *value <= low || *value >= high)) {
        return persona_tool_usage("--%s takes a number between %g and %g", name, low, high);
    }
    return PERSONA_TOOL_OK;
}

static int read_options(const persona_tool_args_t *args, job_t *job)
{
    int status = PERSONA_TOOL_OK;

    job->events = apr_table_get(args->options, "events");
    if (!job->events || !apr_table_get(args->options, "lead")) {
        return persona_tool_usage("backtest needs --events FILE and --lead SECONDS");
    }
    if ((apr_table_get(args->options, "kappa") != NULL) + (apr_table_get(args->options, "hit-rate") != NULL)
            + (apr_table_get(args->options, "wait-cost") != NULL) > 1) {
        return persona_tool_usage("--kappa and --wait-cost set a price and --hit-rate has one found: give one of them");
    }
    job->hit_rate = .99;
    status = option_number(args, "lead", 0, 86400, &job->lead);
    status = status ? status : option_number(args, "kappa", 0, 1e6, &job->kappa);
    status = status ? status : option_number(args, "hit-rate", 0, 1, &job->hit_rate);
    status = status ? status : option_number(args, "wait-cost", 0, 1e6, &job->wait_cost);
    job->compare = apr_table_get(args->options, "compare") || apr_table_get(args->options, "report");
    if (job->wait_cost > 0) {
        job->kappa = job->lead / 60 / job->wait_cost;
    }
    return status;
}

/** The model and its rivals, all personas together. */
static persona_report_t judge(const job_t *job, persona_backtest_t *backtest, apr_pool_t *p)
{
    persona_report_row_t *rows = apr_pcalloc(p, (PERSONA_RIVALS + 1) * sizeof(*rows));
    persona_report_t report = {job->events, job->first, job->last, job->lead, persona_backtest_price(backtest), NULL,
                               rows, 1};
    int single = persona_backtest_personas(backtest) == 1, k;
    char *goal = apr_palloc(p, GOAL_LEN);

    snprintf(goal, GOAL_LEN, job->wait_cost > 0 ? "a wait costs as much as %g idle minutes"
                             : job->kappa > 0   ? "a kappa of %g"
                                                : "a hit rate of %g",
             job->wait_cost > 0 ? job->wait_cost : job->kappa > 0 ? job->kappa : job->hit_rate);
    report.goal = goal;
    rows[0].policy = "forecast";
    persona_backtest_model(backtest, -1, &rows[0].outcome);
    apr_cpystrn(rows[0].outcome.setting, "learned on the way", sizeof(rows[0].outcome.setting));
    for (k = 0; k < PERSONA_RIVALS && job->compare; k++) {
        persona_report_row_t *row = &rows[report.count++];

        row->policy = persona_rival_name((persona_rival_e)k);
        persona_backtest_rival(backtest, single ? 0 : -1, (persona_rival_e)k, job->kappa > 0 ? report.price : 0,
                               job->hit_rate, &row->outcome);
        if (!single) {
            apr_cpystrn(row->outcome.setting, "of each persona, in hindsight", sizeof(row->outcome.setting));
        }
    }
    for (k = 0; k < report.count; k++) {
        rows[k].cost = rows[k].outcome.idle
                       + report.price * (double)(rows[k].outcome.claims - rows[k].outcome.hits);
    }
    return report;
}

static double share(double part, long whole)
{
    return whole ? part / (double)whole : 0;
}

static json_t *report_json(const persona_report_t *r)
{
    const persona_outcome_t *ours = &r->rows[0].outcome;
    json_t *json = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "claims", (json_int_t)ours->claims, "hits",
                             (json_int_t)ours->hits, "hit_rate", share((double)ours->hits, ours->claims), "idle_hours",
                             ours->idle / 3600, "days", (r->last - r->first) / 86400, "lead", r->lead, "wait_cost",
                             r->price / 60);
    json_t *list = json_array();

    for (int k = 0; k < r->count; k++) {
        const persona_outcome_t *o = &r->rows[k].outcome;

        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "policy", r->rows[k].policy,
                                              "setting", o->setting, "hit_rate", share((double)o->hits, o->claims),
                                              "wait_mean", share(o->waited, o->claims), "wait_longest", o->longest,
                                              "idle_hours", o->idle / 3600, "cost_hours", r->rows[k].cost / 3600));
    }
    json_object_set_new(json, "policies", list);
    return json;
}

static void print_report(const persona_report_t *r)
{
    const persona_outcome_t *ours = &r->rows[0].outcome;

    printf("%ld claims in %.1f days, hit rate %.4f, %.1f idle instance-hours\n", ours->claims,
           (r->last - r->first) / 86400, share((double)ours->hits, ours->claims), ours->idle / 3600);
    if (r->count == 1) {
        return;
    }
    printf("goal: %s; a boot takes %g s, a wait is charged at %.1f idle minutes\n\n", r->goal, r->lead, r->price / 60);
    printf("%-15s %8s  %9s  %7s  %10s  %10s  %s\n", "POLICY", "HIT RATE", "MEAN WAIT", "LONGEST", "IDLE HOURS",
           "COST HOURS", "SETTING");
    for (int k = 0; k < r->count; k++) {
        const persona_outcome_t *o = &r->rows[k].outcome;

        printf("%-15s %8.4f  %7.2f s  %5.0f s  %10.1f  %10.1f  %s\n", r->rows[k].policy,
               share((double)o->hits, o->claims), share(o->waited, o->claims), o->longest, o->idle / 3600,
               r->rows[k].cost / 3600, o->setting);
    }
}

/** 0: it could not be written, and that was said. */
static int write_report(const char *path, const persona_report_t *report, const persona_backtest_t *backtest,
                        apr_pool_t *p)
{
    FILE *out = fopen(path, "w");
    int failed = !out;

    if (out) {
        persona_report_write(out, report, backtest, p);
        failed = ferror(out);
        failed |= fclose(out) != 0;
    }
    if (failed) {
        fprintf(stderr, "personactl: %s: %s\n", path, strerror(errno));
    }
    return !failed;
}

/** What came of it, in all forms that were asked for. */
static int tell(const job_t *job, const persona_tool_args_t *args, persona_backtest_t *backtest, apr_pool_t *p)
{
    const char *page = apr_table_get(args->options, "report");
    persona_report_t report = judge(job, backtest, p);

    if (args->json) {
        persona_tool_print(report_json(&report));
    }
    else {
        print_report(&report);
    }
    return !page || write_report(page, &report, backtest, p) ? PERSONA_TOOL_OK : PERSONA_TOOL_PROBLEMS;
}

static int run_backtest(const persona_tool_args_t *args, apr_pool_t *p)
{
    const char *targets = apr_table_get(args->options, "targets");
    persona_backtest_t *backtest;
    job_t job = {0};
    struct stat info;
    int status = read_options(args, &job);

    if (status != PERSONA_TOOL_OK) {
        return status;
    }
    job.in = fopen(job.events, "r");
    if (!job.in || fstat(fileno(job.in), &info) != 0) {
        fprintf(stderr, "personactl: %s: %s\n", job.events, strerror(errno));
        status = PERSONA_TOOL_PROBLEMS;
        goto leave;
    }
    job.size = S_ISREG(info.st_mode) ? info.st_size : 0;
    job.progress = isatty(STDERR_FILENO);
    if (targets) {
        job.out = fopen(targets, "w");
        if (!job.out || fputs("t,persona,target\n", job.out) == EOF) {
            fprintf(stderr, "personactl: %s: %s\n", targets, strerror(errno));
            status = PERSONA_TOOL_PROBLEMS;
            goto leave;
        }
    }
    backtest = persona_backtest_create(job.lead, job.kappa, job.hit_rate, targets ? write_target : NULL, &job, p);
    if (job.compare) {
        persona_backtest_compare(backtest);
    }
    status = replay(&job, backtest);
    if (status == PERSONA_TOOL_OK) {
        status = tell(&job, args, backtest, p);
        persona_backtest_run(backtest, job.last + TAIL_SECONDS);
    }
leave:
    if (job.out && fclose(job.out) != 0) {
        fprintf(stderr, "personactl: %s: %s\n", targets, strerror(errno));
        status = PERSONA_TOOL_PROBLEMS;
    }
    if (job.in) {
        fclose(job.in);
    }
    return status;
}

static const apr_getopt_option_t backtest_options[] = {
    {"events", OPTION_EVENTS, 1, "FILE of arrivals: t,persona,user,role,duration"},
    {"lead", OPTION_LEAD, 1, "SECONDS that a boot takes"},
    {"kappa", OPTION_KAPPA, 1, "price of idling for one boot time over the price of one wait"},
    {"hit-rate", OPTION_HIT_RATE, 1, "share of arrivals that shall not wait, as 0.99 (the default)"},
    {"wait-cost", OPTION_WAIT_COST, 1, "price of one wait in idle instance-minutes, instead of kappa"},
    {"compare", OPTION_COMPARE, 0, "run static, schedule, buffer, reactive and seasonal naive beside it"},
    {"report", OPTION_REPORT, 1, "FILE of HTML to write, with plots; compares"},
    {"targets", OPTION_TARGETS, 1, "FILE to write t,persona,target to"},
    PERSONA_TOOL_JSON,
    {NULL, 0, 0, NULL},
};

const persona_command_t persona_commands_backtest[] = {
    {"backtest", "", "replay a history of arrivals through the learned model",
     "Each target depends on arrivals strictly before its own time. Times are seconds since the epoch; a\n"
     "duration of 0 is unknown. The forecast learns on the way. Of the others the best of many settings is taken,\n"
     "for each persona in hindsight: the cheapest at the price given, or at the least price at which all together\n"
     "keep the hit rate.",
     0, 0, backtest_options, 0, run_backtest},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL},
};
