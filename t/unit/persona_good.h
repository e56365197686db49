/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file persona_good.h
 * @brief A good persona file for the unit tests, which make bad ones of it.
 */
#ifndef PERSONA_GOOD_H
#define PERSONA_GOOD_H

#define HOURS_6 "\"low\", \"low\", \"low\", \"low\", \"low\", \"high\""

/** With the given id, app_id, and JSON text of user_role_affinity. */
#define PERSONA_GOOD(id, app, roles)                                                               \
    "{\"persona_id\": \"" id "\", \"app_id\": \"" app "\", \"application_source\": \"cad:1\",\n"   \
    " \"resource_profile\": {\"cpu\": 4, \"memory\": \"8GiB\", \"storage\": \"40GiB\",\n"          \
    "   \"gpu\": {\"count\": 1, \"model\": \"a16\"},\n"                                            \
    "   \"max\": {\"cpu\": 8, \"memory\": \"16GiB\"}},\n"                                          \
    " \"execution_environment\": {\"compute\": \"kvm\", \"os_image\": \"d12.qcow2\",\n"            \
    "   \"libraries\": [\"libcairo2\"], \"command\": [\"freecad\"],\n"                             \
    "   \"network\": {\"name\": \"persona\", \"isolated\": false},\n"                              \
    "   \"env\": {\"LANG\": \"C\", \"Lang\": \"D\"},\n"                                            \
    "   \"stream\": {\"protocol\": \"http\", \"port\": 6080, \"path\": \"/app/\"},\n"              \
    "   \"ready\": {\"timeout\": \"60s\"}, \"home\": {\"hook\": \"/assign\", \"port\": 6081}},\n"  \
    " \"predicted_usage_pattern\": {\"timezone\": \"Europe/Berlin\",\n"                            \
    "   \"hourly\": [" HOURS_6 ", " HOURS_6 ", " HOURS_6 ", " HOURS_6 "],\n"                       \
    "   \"daily\": {\"mon\": \"high\", \"sun\": \"low\"}},\n"                                      \
    " \"user_role_affinity\": " roles ",\n"                                                        \
    " \"auto_scale_rules\": [{\"scope\": \"instance\", \"metric\": \"cpu\", \"above\": 85,\n"      \
    "   \"for\": \"60s\", \"action\": {\"cpu\": \"+1\"}, \"cooldown\": \"5m\"},\n"                 \
    "  {\"scope\": \"pool\", \"metric\": \"ready\", \"below\": 2, \"action\": {\"ready\": 2}}],\n" \
    " \"pool\": {\"min\": 1, \"max\": 50, \"wait_cost\": 2.5, \"idle_timeout\": 90}}\n"

#endif
