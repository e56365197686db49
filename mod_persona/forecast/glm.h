/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file glm.h
 * @brief A Poisson log-linear model that is learned on the way, in constant space.
 *
 * The rate is exp(w . x). The log-likelihood of what was seen since the last update is replaced by its quadratic
 * at the weights it was seen with, so the past is a matrix and a vector, both forgotten exponentially; an update
 * is one Newton step: w = (past + ridge)^-1 (information + ridge * prior). That is iteratively reweighted least
 * squares (McCullagh and Nelder, "Generalized Linear Models", 1989), a step at a time, with the exponential forgetting
 * of dynamic generalized linear models (West, Harrison and Migon, 1985).
 */
#ifndef PERSONA_FORECAST_GLM_H
#define PERSONA_FORECAST_GLM_H

#define PERSONA_GLM_MAX 32
#define PERSONA_GLM_PACKED (PERSONA_GLM_MAX * (PERSONA_GLM_MAX + 1) / 2)

typedef struct persona_glm_t {
    int size;
    float weight[PERSONA_GLM_MAX];
    float information[PERSONA_GLM_MAX];
    float gradient[PERSONA_GLM_MAX];    /**< since the last update */
    float past[PERSONA_GLM_PACKED];     /**< lower triangle, row by row */
    float recent[PERSONA_GLM_PACKED];
} persona_glm_t;

void persona_glm_begin(persona_glm_t *glm, int size, const float *weight);
/** w . x */
double persona_glm_score(const persona_glm_t *glm, const float *x);
/** `count` arrivals where `mean` were expected, with features `x`; `trust` weighs the observation. */
void persona_glm_learn(persona_glm_t *glm, const float *x, double count, double mean, double trust);
/** Take what was learned into the past, which is first multiplied by `keep`. */
void persona_glm_absorb(persona_glm_t *glm, double keep);
/** What `own` has learned since its last update is learned by `all`, too: several alike know more than one. */
void persona_glm_share(persona_glm_t *all, const persona_glm_t *own);
/** Newton step towards the past and `prior`; 0: the matrix was not positive definite and nothing was changed. */
int persona_glm_step(persona_glm_t *glm, const float *prior, const float *ridge, double longest);

#endif
