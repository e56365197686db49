/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file audit.h
 * @brief Do the promises hold: each instance one session's (I1), none lost sight of (I2), no session lost (I3), each
 * session one instance's (I5)?
 */
#ifndef PERSONA_MANAGER_AUDIT_H
#define PERSONA_MANAGER_AUDIT_H

#include <jansson.h>

#include "state.h"

/**
 * Compare what the providers have, what the index says and what this manager knows. Claims may run meanwhile: what is
 * on its way from one good state to the next is looked at twice, `pause` apart, and counts only if it is still so.
 * `repair`: put right what can be; an instance with an open stream is never touched.
 *
 * {"holds": bool, "instances": n, "sessions": n, "unknown": [why something could not be looked at],
 *  "findings": [{"promise": "I2", "instance": uuid, "text": ..., "repaired": bool}]}; the caller owns it. It takes as
 * long as the providers do, twice, and `pause`.
 */
json_t *persona_audit(persona_manager_t *m, int repair, apr_interval_time_t pause, apr_pool_t *p);

#endif
