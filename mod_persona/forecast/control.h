/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file control.h
 * @brief Keeps a promised hit rate: which kappa serves that share of arrivals.
 *
 * Each arrival tells the kappa at which it would just have been served (model.h). The kappa for a hit rate R is
 * therefore a quantile of what past arrivals told, and no pool has to be replayed to find it. Outcomes correct it, as
 * in adaptive conformal inference (Gibbs and Candes, "Adaptive Conformal Inference Under Distribution Shift", 2021):
 * each miss lowers kappa, each hit raises it by (1 - R) / R of that, and the step shrinks with the number of misses
 * that are to be expected in the time that is remembered, so that one bad hour of a busy site moves it little.
 */
#ifndef PERSONA_FORECAST_CONTROL_H
#define PERSONA_FORECAST_CONTROL_H

#define PERSONA_CONTROL_BINS 96

typedef struct persona_control_t {
    float told[PERSONA_CONTROL_BINS];   /**< arrivals by price, four bins an octave */
    double trim;                        /**< octaves that outcomes have moved kappa by */
    double count;                       /**< arrivals lately */
    double first, day;                  /**< first arrival, and up to when all is forgotten; in seconds */
    double kappa;
} persona_control_t;

void persona_control_begin(persona_control_t *control, double hit_rate);
/** An arrival; `price` < 0: it tells nothing. `served`: it found an instance. */
void persona_control_arrival(persona_control_t *control, double hit_rate, double price, int served, double at);

#endif
