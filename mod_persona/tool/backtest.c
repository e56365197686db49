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
#include "tool.h"

#define LINE_MAX_LEN 1024
#define FIELDS       5
/* Targets go on for this long after the last event. */
#define TAIL_SECONDS (2 * 86400.0)
#define PROGRESS_EVERY 4096

enum { OPTION_EVENTS = 256, OPTION_LEAD, OPTION_KAPPA, OPTION_HIT_RATE, OPTION_TARGETS };

typedef struct job_t {
    const char *events;     /* file name */
    double lead, kappa, hit_rate;
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
    if (apr_table_get(args->options, "kappa") && apr_table_get(args->options, "hit-rate")) {
        return persona_tool_usage("--kappa sets a price and --hit-rate has one found: give one of them");
    }
    job->hit_rate = .99;
    status = option_number(args, "lead", 0, 86400, &job->lead);
    status = status ? status : option_number(args, "kappa", 0, 1e6, &job->kappa);
    return status ? status : option_number(args, "hit-rate", 0, 1, &job->hit_rate);
}

static void report(const job_t *job, persona_backtest_t *backtest, int as_json)
{
    persona_backtest_sum_t sum;
    double rate;

    persona_backtest_sum(backtest, &sum);
    rate = sum.claims ? (double)sum.hits / (double)sum.claims : 0;
    if (as_json) {
        persona_tool_print(json_pack("{s:I,s:I,s:f,s:f,s:f}", "claims", (json_int_t)sum.claims, "hits",
                                     (json_int_t)sum.hits, "hit_rate", rate, "idle_hours", sum.idle / 3600, "days",
                                     (job->last - job->first) / 86400));
        return;
    }
    printf("%ld claims in %.1f days, hit rate %.4f, %.1f idle instance-hours\n", sum.claims,
           (job->last - job->first) / 86400, rate, sum.idle / 3600);
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
    status = replay(&job, backtest);
    if (status == PERSONA_TOOL_OK) {
        report(&job, backtest, args->json);
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
    {"targets", OPTION_TARGETS, 1, "FILE to write t,persona,target to"},
    PERSONA_TOOL_JSON,
    {NULL, 0, 0, NULL},
};

const persona_command_t persona_commands_backtest[] = {
    {"backtest", "", "replay a history of arrivals through the learned model",
     "Each target depends on arrivals strictly before its own time. Times are seconds since the epoch; a\n"
     "duration of 0 is unknown.",
     0, 0, backtest_options, 0, run_backtest},
    {NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL},
};
