/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file wait.h
 * @brief How long somebody in line will still wait: the marks below which it lies in 10, 50 and 90 of 100 cases.
 *
 * What is known: how long the persona's last boots took, the age of each boot under way, how many boot at a time on
 * its compute, and how many stand before in line. The rest of all that is played many times, each boot taking as long
 * as one of the last ones about did; the marks are those of the outcomes. Nothing is said where no boot was measured
 * yet, or where more boots would be needed than may be made.
 */
#ifndef PERSONA_MANAGER_WAIT_H
#define PERSONA_MANAGER_WAIT_H

#define PERSONA_WAIT_SLOTS 64

/** Seconds throughout. */
typedef struct persona_wait_t {
    const double *boots;   /**< how long the last boots of the persona took */
    int boot_count;
    double ages[PERSONA_WAIT_SLOTS]; /**< of the boots under way that this line is waiting for */
    int booting;
    int others;            /**< boots of other personas that take slots of the same compute */
    int slots;             /**< boots at a time; more than PERSONA_WAIT_SLOTS are taken as that */
    int more;              /**< boots that will be begun as slots are free */
    double delay;          /**< not before that */
    int ready;             /**< instances that are ready and nobody's yet */
    int place;             /**< in line; 1 is next */
} persona_wait_t;

typedef struct persona_marks_t {
    double p10, p50, p90;
} persona_marks_t;

/** 0: nothing can be said. The same question has the same answer. */
int persona_wait_marks(const persona_wait_t *wait, persona_marks_t *marks);

#endif
