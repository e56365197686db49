/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file state.h
 * @brief What the policy "model" has learned, as bytes that survive restarts and move between gateways.
 *
 * Little-endian, the same on every machine: magic, version, layout (a digest of the fields and their counts, so that
 * another layout is refused and never misread), length, checksum; then the site and each persona, field by field.
 */
#ifndef PERSONA_FORECAST_STATE_H
#define PERSONA_FORECAST_STATE_H

#include "forecast/learned.h"

void persona_state_save(const persona_learned_t *learned, char **data, apr_size_t *len, apr_pool_t *p);
/** Replace all that was learned. APR_EINVAL: not such bytes, or another version; nothing is changed then. */
apr_status_t persona_state_load(persona_learned_t *learned, const char *data, apr_size_t len);

#endif
