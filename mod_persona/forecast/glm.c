/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Poisson regression, learned on the way. The state belongs to one persona's model or to the site.
 */
#include "forecast/glm.h"

#include <math.h>
#include <string.h>

void persona_glm_begin(persona_glm_t *glm, int size, const float *weight)
{
    memset(glm, 0, sizeof(*glm));
    glm->size = size;
    memcpy(glm->weight, weight, size * sizeof(float));
}

double persona_glm_score(const persona_glm_t *glm, const float *x)
{
    float sum = 0;
    int k;

    for (k = 0; k < glm->size; k++) {
        sum += glm->weight[k] * x[k];
    }
    return sum;
}

void persona_glm_learn(persona_glm_t *glm, const float *x, double count, double mean, double trust)
{
    float *row = glm->recent;
    float error = (float)(trust * (count - mean)), curve = (float)(trust * mean);
    int i, j;

    for (i = 0; i < glm->size; i++) {
        float c = curve * x[i];

        glm->gradient[i] += error * x[i];
        for (j = 0; j <= i; j++) {
            row[j] += c * x[j];
        }
        row += i + 1;
    }
}

/* information += recent * weight, the symmetric matrix being given by its lower triangle. */
static void add_product(float *information, const float *recent, const float *weight, int n)
{
    const float *row = recent;
    int i, j;

    for (i = 0; i < n; i++) {
        for (j = 0; j < i; j++) {
            information[i] += row[j] * weight[j];
            information[j] += row[j] * weight[i];
        }
        information[i] += row[i] * weight[i];
        row += i + 1;
    }
}

void persona_glm_share(persona_glm_t *all, const persona_glm_t *own)
{
    int n = all->size, i;

    for (i = 0; i < n; i++) {
        all->information[i] += own->gradient[i];
    }
    add_product(all->information, own->recent, own->weight, n);
    for (i = 0; i < n * (n + 1) / 2; i++) {
        all->past[i] += own->recent[i];
    }
}

void persona_glm_absorb(persona_glm_t *glm, double keep)
{
    int n = glm->size, i;

    for (i = 0; i < n; i++) {
        glm->information[i] = (float)keep * glm->information[i] + glm->gradient[i];
        glm->gradient[i] = 0;
    }
    add_product(glm->information, glm->recent, glm->weight, n);
    for (i = 0; i < n * (n + 1) / 2; i++) {
        glm->past[i] = (float)keep * glm->past[i] + glm->recent[i];
        glm->recent[i] = 0;
    }
}

int persona_glm_step(persona_glm_t *glm, const float *prior, const float *ridge, double longest)
{
    double m[PERSONA_GLM_MAX][PERSONA_GLM_MAX], b[PERSONA_GLM_MAX], far = 0, scale = 1;
    const float *row = glm->past;
    int n = glm->size, i, j, k;

    for (i = 0; i < n; i++) {
        for (j = 0; j <= i; j++) {
            m[i][j] = row[j];
        }
        m[i][i] += ridge[i];
        b[i] = glm->information[i] + ridge[i] * prior[i];
        row += i + 1;
    }
    for (i = 0; i < n; i++) {
        for (j = 0; j <= i; j++) {
            double s = m[i][j];

            for (k = 0; k < j; k++) {
                s -= m[i][k] * m[j][k];
            }
            if (i > j) {
                m[i][j] = s / m[j][j];
            }
            else if (s > 1e-12) {
                m[i][i] = sqrt(s);
            }
            else {
                return 0;
            }
        }
    }
    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) {
            b[i] -= m[i][k] * b[k];
        }
        b[i] /= m[i][i];
    }
    for (i = n - 1; i >= 0; i--) {
        for (k = i + 1; k < n; k++) {
            b[i] -= m[k][i] * b[k];
        }
        b[i] /= m[i][i];
    }
    for (i = 0; i < n; i++) {
        double step = fabs(b[i] - glm->weight[i]);

        if (!isfinite(b[i])) {
            return 0;
        }
        far = step > far ? step : far;
    }
    if (far > longest) {
        scale = longest / far;
    }
    for (i = 0; i < n; i++) {
        glm->weight[i] += (float)(scale * (b[i] - glm->weight[i]));
    }
    return 1;
}
