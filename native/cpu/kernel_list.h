// The kernels every instruction-set tier provides: FM_KERNEL(name, parameters, arguments).
// The dispatch table, the per-tier declarations, the C entry points and the test of the export list expand from here.

#define FM_KERNEL_LIST(FM_KERNEL)                                                                                    \
  FM_KERNEL(weighted_average,                                                                                        \
            (const fm_weighted_input *inputs, int64_t input_count, const fm_values *base, double scaling_factor,     \
             void *out, int32_t out_type, int64_t begin, int64_t end),                                               \
            (inputs, input_count, base, scaling_factor, out, out_type, begin, end))                                  \
  FM_KERNEL(statistics,                                                                                              \
            (const void *x, int32_t type, int64_t begin, int64_t end, double threshold,                              \
             fm_value_statistics *result),                                                                           \
            (x, type, begin, end, threshold, result))                                                                \
  FM_KERNEL(pair_sums,                                                                                               \
            (const fm_values *rows, int64_t row_count, double *scratch, double *products, double *roots,             \
             int64_t begin, int64_t end),                                                                            \
            (rows, row_count, scratch, products, roots, begin, end))                                                 \
  FM_KERNEL(task_vectors,                                                                                            \
            (const fm_task_vector *vectors, int64_t vector_count, const fm_values *base, int32_t mix, double factor, \
             int64_t first, void *out, int32_t out_type, int64_t begin, int64_t end),                                \
            (vectors, vector_count, base, mix, factor, first, out, out_type, begin, end))                            \
  FM_KERNEL(magnitudes,                                                                                              \
            (const fm_values *values, const fm_values *base, float low, float high, float *found,                    \
             fm_magnitude_counts *counts, int64_t begin, int64_t end),                                               \
            (values, base, low, high, found, counts, begin, end))                                                    \
  FM_KERNEL(sample_magnitudes,                                                                                       \
            (const fm_values *values, const fm_values *base, const int64_t *places, int64_t groups, float *sample),  \
            (values, base, places, groups, sample))                                                                  \
  FM_KERNEL(select_magnitude,                                                                                        \
            (const float *magnitudes, int64_t count, int64_t rank, float least, float most,                          \
             fm_selected_magnitude *selected),                                                                       \
            (magnitudes, count, rank, least, most, selected))                                                                     \
  FM_KERNEL(count_equal, (const float *numbers, int64_t count, float number, int64_t *equal),                        \
            (numbers, count, number, equal))                                                                         \
  FM_KERNEL(task_vector_norms,                                                                                       \
            (const fm_task_vector *vector, const fm_values *base, int64_t first, double *norms, int64_t begin,       \
             int64_t end),                                                                                           \
            (vector, base, first, norms, begin, end))                                                                \
  FM_KERNEL(square_accumulate, (const float *gradient, double scale, float *fisher, int64_t begin, int64_t end),     \
            (gradient, scale, fisher, begin, end))                                                                   \
  FM_KERNEL(squared_gradients_prepare,                                                                               \
            (const fm_cotangents *g, const fm_activations *a, fm_squared_gradients_plan *plan),                      \
            (g, a, plan))                                                                                            \
  FM_KERNEL(squared_gradients_pack_g, (const fm_cotangents *g, float *packed_g, int64_t begin, int64_t end),         \
            (g, packed_g, begin, end))                                                                               \
  FM_KERNEL(squared_gradients_pack_a,                                                                                \
            (const fm_activations *a, int64_t examples, int64_t tokens, float *packed_a, int64_t begin,              \
             int64_t end),                                                                                           \
            (a, examples, tokens, packed_a, begin, end))                                                             \
  FM_KERNEL(squared_gradients_blocks,                                                                                \
            (const fm_cotangents *g, const fm_activations *a, const float *packed_g, const float *packed_a,          \
             float *scratch, float *fisher, int64_t begin, int64_t end),                                             \
            (g, a, packed_g, packed_a, scratch, fisher, begin, end))                                                 \
  FM_KERNEL(token_sum_squares, (const fm_cotangents *g, float *fisher, int64_t begin, int64_t end),                  \
            (g, fisher, begin, end))                                                                                 \
  FM_KERNEL(layer_norm_squares,                                                                                      \
            (const fm_cotangents *g, const fm_activations *x, const float *mean, const float *rstd,                  \
             float *fisher_scale, float *fisher_shift, int64_t begin, int64_t end),                                  \
            (g, x, mean, rstd, fisher_scale, fisher_shift, begin, end))                                              \
  FM_KERNEL(embedding_squares,                                                                                       \
            (const fm_cotangents *g, const int64_t *ids, int64_t rows, float *fisher, int64_t begin, int64_t end),   \
            (g, ids, rows, fisher, begin, end))
