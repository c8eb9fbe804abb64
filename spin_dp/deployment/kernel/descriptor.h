// SPDX-License-Identifier: LGPL-3.0-or-later
// The compressed descriptor spin_se_e2_a and its slopes, atom by atom, and the
// short-range repulsion beside them.
//
// What a neighbour needs stays in registers and the first-level cache: positions and
// moments are read, sums over neighbours and slopes are written, nothing else. Written
// for the compiler of spin-dp compile, which puts the constants (real, CHANNELS, ...)
// before it. Blocks of channels (T, V, Q) are filled up with zeros to whole vectors.

using Vec = at::vec::Vectorized<real>;
constexpr int W = Vec::size();
constexpr int NT = CHANNELS_T / W, NV = CHANNELS_V / W, NQ = CHANNELS_Q / W;
constexpr int CHANNELS = CHANNELS_T + CHANNELS_V + CHANNELS_Q;
constexpr int N = CHANNELS / W;
constexpr int SUMS = 4 * CHANNELS_T + 3 * CHANNELS_V + 5 * CHANNELS_Q;
constexpr int FEATURES = USED_T * AXIS_T + USED_V * AXIS_V + USED_Q * AXIS_Q;
constexpr int ROWS_OUT = 16;  // slopes in position and moment, virial, repulsion

// Widths of hidden layers are filled up, too.
constexpr int WIDEST = std::max({1, HIDDEN_WIDTHS});
constexpr int WIDTH[] = {HIDDEN_WIDTHS};

// A neighbour inside the cutoff.
struct Pair {
  int64_t atom, types, interval;
  double edge[3];
  real u[3], y[5], inverse, weight, weight_slope, t;
  real moment[3], invariants[3];
  bool bare;  // no moments
};

// Room for the neighbours of one atom.
struct Surroundings {
  std::vector<Pair> pairs;
  std::vector<real> hidden;  // (neighbours, layers, widest)
  int64_t count = 0;

  explicit Surroundings(int64_t most)
      : pairs(most + 1), hidden((most + 1) * LAYERS * WIDEST) {}

  real* layers(int64_t k) { return hidden.data() + k * LAYERS * WIDEST; }
};

struct Weights {
  const real *values, *slopes, *typed, *bare, *first, *hidden, *head, *head_back,
      *head_bias, *on_site;
  const double* repulsion;  // (types, types, 4): factor, rate, inner, outer radius
};

inline real total(const Vec& x) {
  return at::vec::vec_reduce_all<real>([](Vec& a, Vec& b) { return a + b; }, x);
}

inline Vec load(const real* from) { return Vec::loadu(from); }

// x P(x²) / Q(x²), fitted on |x| < 9 to a relative error of 2e-8; beyond, 1.
inline Vec bounded(const Vec& x) {
  if constexpr (!std::is_same_v<real, float>) return x.tanh();
  const Vec in = at::vec::clamp(x, Vec(real(-9)), Vec(real(9))), z = in * in;
  Vec p(real(1.335468179e-08)), q(real(7.776567045e-07));
  p = at::vec::fmadd(p, z, Vec(real(2.060909831e-05)));
  q = at::vec::fmadd(q, z, Vec(real(0.0003285636444)));
  p = at::vec::fmadd(p, z, Vec(real(0.003495589132)));
  q = at::vec::fmadd(q, z, Vec(real(0.02587698603)));
  p = at::vec::fmadd(p, z, Vec(real(0.1338102649)));
  q = at::vec::fmadd(q, z, Vec(real(0.4671434208)));
  p = at::vec::fmadd(p, z, Vec(real(0.9999999795)));
  q = at::vec::fmadd(q, z, Vec(real(1)));
  return in * p / q;
}

// From 1 to 0 while v goes from 0 to 1, and its slope; width is dv/dx.
struct Fade {
  double value, slope;
};

inline Fade fade_at(double v, double width) {
  return {
      v * v * v * (v * (15.0 - 6.0 * v) - 10.0) + 1.0,
      v * v * (v * (60.0 - 30.0 * v) - 30.0) * width};
}

// Half of the repulsion of a pair that is closer than its outer radius, and its slope.
struct Repulsion {
  double energy, slope;
};

inline Repulsion repulsion_of(const double* pair, double distance) {
  const double factor = pair[0], rate = pair[1], inner = pair[2], outer = pair[3];
  const double inverse = 1.0 / distance;
  double screening = 0.0, bend = 0.0;
  for (int n = 0; n < 4; ++n) {
    const double part = SCREENING[n] * std::exp(-SCREENING[4 + n] * rate * distance);
    screening += part;
    bend -= SCREENING[4 + n] * part;
  }
  const double width = 1.0 / (outer - inner);
  const double v = std::max((distance - inner) * width, 0.0);
  const Fade fade = fade_at(v, width);
  const double bare = factor * inverse, energy = bare * screening;
  return {
      fade.value * energy,
      fade.value * (bare * rate * bend - energy * inverse) + fade.slope * energy};
}

// Repulsion of an atom and its neighbours. Few are that close. A function of its own,
// so that the loop over all pairs is compiled as without it.
__attribute__((noinline)) inline void repel(
    const Surroundings& found, const double* table, int64_t first_out, double* here,
    double* out) {
  for (int64_t k = 0; k < found.count; ++k) {
    const Pair& p = found.pairs[k];
    const double x = p.edge[0], y = p.edge[1], z = p.edge[2];
    const double square = x * x + y * y + z * z;
    if (square >= REPULSION_REACH * REPULSION_REACH) continue;
    const double* row = table + 4 * p.types;
    if (square >= row[3] * row[3]) continue;
    const double distance = std::sqrt(square);
    const Repulsion pair = repulsion_of(row, distance);
    double* there = out + (p.atom - first_out) * ROWS_OUT;
    for (int a = 0; a < 3; ++a) {
      const double force = pair.slope / distance * p.edge[a];
      there[a] += force;
      here[a] -= force;
      for (int b = 0; b < 3; ++b) there[6 + 3 * a + b] += force * p.edge[b];
    }
    here[ROWS_OUT - 1] += pair.energy;
  }
}

// Neighbours inside the cutoff, with all that depends on where they are.
inline void find(
    const double* coord, const int64_t* types, const int64_t* list, int64_t length,
    int64_t centre, int64_t first, Surroundings& out) {
  const double* own = coord + 3 * centre;
  int64_t count = 0;
  for (int64_t k = 0; k < length; ++k) {
    const int64_t atom = first + std::max<int64_t>(list[k], 0);
    const double* other = coord + 3 * atom;
    const double x = other[0] - own[0], y = other[1] - own[1], z = other[2] - own[2];
    Pair& pair = out.pairs[count];
    pair.atom = atom;
    pair.edge[0] = x;
    pair.edge[1] = y;
    pair.edge[2] = z;
    // What is no number stays in, and shows in the energy.
    count += list[k] >= 0 && !(x * x + y * y + z * z >= CUTOFF * CUTOFF);
  }
  out.count = count;
  const double root = 1.7320508075688772, width = 1.0 / (CUTOFF - SWITCH);
  for (int64_t k = 0; k < count; ++k) {
    Pair& p = out.pairs[k];
    const double x = p.edge[0], y = p.edge[1], z = p.edge[2];
    const double distance = std::sqrt(x * x + y * y + z * z), inverse = 1.0 / distance;
    const double v = std::min(std::max((distance - SWITCH) * width, 0.0), 1.0);
    const Fade fade = fade_at(v, width);
    const double place = (distance - TABLE_START) * (1.0 / TABLE_STRIDE);
    p.interval = std::min<int64_t>(std::max<int64_t>(int64_t(place), 0), INTERVALS - 1);
    p.t = real(place - double(p.interval));
    p.inverse = real(inverse);
    p.weight = real(fade.value * inverse);
    p.weight_slope = real((fade.slope - fade.value * inverse) * inverse);
    const double ux = x * inverse, uy = y * inverse, uz = z * inverse;
    p.u[0] = real(ux);
    p.u[1] = real(uy);
    p.u[2] = real(uz);
    p.y[0] = real(root * ux * uy);
    p.y[1] = real(root * uy * uz);
    p.y[2] = real(root * ux * uz);
    p.y[3] = real(1.5 * uz * uz - 0.5);
    p.y[4] = real(0.5 * root * (ux * ux - uy * uy));
    p.types = types[centre] * TYPES + std::max<int64_t>(types[p.atom], 0);
  }
}

// What depends on moments; of atoms numbered as the neighbours are.
inline void magnetise(const real* moments, int64_t centre, Surroundings& found) {
  const real* m = moments + 3 * centre;
  for (int64_t k = 0; k < found.count; ++k) {
    Pair& p = found.pairs[k];
    const real* n = moments + 3 * p.atom;
    for (int a = 0; a < 3; ++a) p.moment[a] = n[a];
    p.invariants[0] = m[0] * m[0] + m[1] * m[1] + m[2] * m[2];
    p.invariants[1] = n[0] * n[0] + n[1] * n[1] + n[2] * n[2];
    p.invariants[2] = m[0] * n[0] + m[1] * n[1] + m[2] * n[2];
    p.bare = p.invariants[0] == 0 && p.invariants[1] == 0;
  }
}

// Hidden layers of the net that dresses a pair with moments.
inline void hide(const Weights& w, const Pair& p, real* layers) {
  for (int h = 0; h < WIDTH[0]; h += W) {
    Vec sum = load(w.typed + p.types * WIDTH[0] + h);
    for (int q = 0; q < 3; ++q)
      sum = at::vec::fmadd(
          Vec(p.invariants[q]), load(w.first + q * WIDTH[0] + h), sum);
    bounded(sum).store(layers + h);
  }
  const real* at = w.hidden;
  for (int l = 1; l < LAYERS; ++l) {
    const int in = WIDTH[l - 1], width = WIDTH[l];
    const real* before = layers + (l - 1) * WIDEST;
    for (int h = 0; h < width; h += W) {
      Vec sum = load(at + in * width + h);
      for (int i = 0; i < in; ++i)
        sum = at::vec::fmadd(Vec(before[i]), load(at + i * width + h), sum);
      bounded(sum).store(layers + l * WIDEST + h);
    }
    at += (2 * in + 1) * width;
  }
}

// Neighbours inside the cutoff, with all that depends on the pair alone.
inline void surround(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, int64_t length, int64_t centre, int64_t first,
    const Weights& w, Surroundings& out) {
  find(coord, types, list, length, centre, first, out);
  magnetise(moments, centre, out);
  for (int64_t k = 0; k < out.count; ++k)
    if (!out.pairs[k].bare) hide(w, out.pairs[k], out.layers(k));
}

// Polynomials of one interval for all channels.
inline void radial(const real* table, const Pair& p, Vec* out) {
  const real* row = table + p.interval * 6 * CHANNELS;
  const Vec t(p.t);
#pragma GCC unroll 16
  for (int c = 0; c < N; ++c) out[c] = load(row + 5 * CHANNELS + c * W);
#pragma GCC unroll 5
  for (int power = 4; power >= 0; --power)
#pragma GCC unroll 16
    for (int c = 0; c < N; ++c)
      out[c] = at::vec::fmadd(out[c], t, load(row + power * CHANNELS + c * W));
}

// 1 + g.
inline void dress(const Weights& w, const Pair& p, const real* hidden, Vec* out) {
  const real* base = p.bare ? w.bare + p.types * CHANNELS : w.head_bias;
#pragma GCC unroll 16
  for (int c = 0; c < N; ++c) out[c] = load(base + c * W);
  if (p.bare) return;
#pragma GCC unroll 8
  for (int h = 0; h < WIDTH[LAYERS - 1]; ++h) {
    const Vec x(hidden[h]);
#pragma GCC unroll 16
    for (int c = 0; c < N; ++c)
      out[c] = at::vec::fmadd(x, load(w.head + h * CHANNELS + c * W), out[c]);
  }
}

// D of one kind of rows: sums[row][channel] with its first channels.
template <int ROWS, int PADDED, int USED, int AXIS>
inline void contract(const real* sums, real* features) {
  real product[std::max(1, PADDED)];
  for (int a = 0; a < AXIS; ++a) {
    for (int c = 0; c < PADDED; c += W) {
      Vec sum(real(0));
      for (int r = 0; r < ROWS; ++r)
        sum = at::vec::fmadd(
            load(sums + r * PADDED + c), Vec(sums[r * PADDED + a]), sum);
      sum.store(product + c);
    }
    for (int c = 0; c < USED; ++c) features[c * AXIS + a] = product[c];
  }
}

// Slopes in the sums from those in D.
template <int ROWS, int PADDED, int USED, int AXIS>
inline void contract_back(const real* sums, const real* slope, real* out) {
  for (int k = 0; k < ROWS * PADDED; ++k) out[k] = 0;
  real turned[std::max(1, PADDED)] = {};
  for (int a = 0; a < AXIS; ++a) {
    for (int c = 0; c < USED; ++c) turned[c] = slope[c * AXIS + a];
    for (int r = 0; r < ROWS; ++r) {
      Vec both(real(0));
      const Vec first(sums[r * PADDED + a]);
      for (int c = 0; c < PADDED; c += W) {
        const Vec one = load(turned + c);
        both = at::vec::fmadd(one, load(sums + r * PADDED + c), both);
        at::vec::fmadd(one, first, load(out + r * PADDED + c))
            .store(out + r * PADDED + c);
      }
      out[r * PADDED + a] += total(both);
    }
  }
}

// Give each thread one stretch of atoms; without a second thread, all in place.
template <typename Work>
inline void share(int64_t count, const Work& work) {
  const int64_t most = std::min<int64_t>(omp_get_max_threads(), count);
  if (most < 2) return work(0, count, 0);
#pragma omp parallel num_threads(most)
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    work(count * thread / threads, count * (thread + 1) / threads, int(thread));
  }
}

// Sums over the neighbours of one atom, in registers.
struct Sums {
  Vec t[4][std::max(1, NT)], v[3][std::max(1, NV)], q[5][std::max(1, NQ)];

  __attribute__((always_inline)) inline Sums() {
    for (auto& row : t) for (auto& x : row) x = Vec(real(0));
    for (auto& row : v) for (auto& x : row) x = Vec(real(0));
    for (auto& row : q) for (auto& x : row) x = Vec(real(0));
  }

  // Weighted channels of a neighbour times its rows.
  __attribute__((always_inline)) inline void add(const Pair& p, const Vec* value) {
    const real unit[] = {real(1), p.u[0], p.u[1], p.u[2]};
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < NT; ++c)
        t[r][c] = at::vec::fmadd(value[c], Vec(unit[r]), t[r][c]);
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < NV; ++c)
        v[r][c] = at::vec::fmadd(value[NT + c], Vec(p.moment[r]), v[r][c]);
#pragma GCC unroll 5
    for (int r = 0; r < 5; ++r)
#pragma GCC unroll 16
      for (int c = 0; c < NQ; ++c)
        q[r][c] = at::vec::fmadd(value[NT + NV + c], Vec(p.y[r]), q[r][c]);
  }

  // Normalised, and what the atom's own moment adds.
  __attribute__((always_inline)) inline void store(
      const real* on_site, const real* own, real* out) const {
    real* out_v = out + 4 * CHANNELS_T;
    real* out_q = out_v + 3 * CHANNELS_V;
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < NT; ++c)
        (t[r][c] * Vec(SCALE_T[r])).store(out + r * CHANNELS_T + c * W);
    for (int r = 0; r < 3; ++r)
      for (int c = 0; c < NV; ++c)
        at::vec::fmadd(load(on_site + c * W), Vec(own[r]), v[r][c] * Vec(SCALE_V))
            .store(out_v + r * CHANNELS_V + c * W);
    for (int r = 0; r < 5; ++r)
      for (int c = 0; c < NQ; ++c)
        (q[r][c] * Vec(SCALE_Q)).store(out_q + r * CHANNELS_Q + c * W);
  }
};

// Invariants of sums.
inline void invariants_of(const real* sums, real* features) {
  contract<4, CHANNELS_T, USED_T, AXIS_T>(sums, features);
  features += USED_T * AXIS_T;
  sums += 4 * CHANNELS_T;
  contract<3, CHANNELS_V, USED_V, AXIS_V>(sums, features);
  features += USED_V * AXIS_V;
  sums += 3 * CHANNELS_V;
  if constexpr (NQ > 0) contract<5, CHANNELS_Q, USED_Q, AXIS_Q>(sums, features);
}

// For each atom of each frame: normalised sums over neighbours, then their invariants.
inline void describe_some(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const Weights& w, int64_t begin, int64_t end, int64_t all,
    int64_t local, int64_t length, real* out) {
  Surroundings found(length);
  for (int64_t number = begin; number < end; ++number) {
    const int64_t first = number / local * all, centre = first + number % local;
    real* sums = out + number * (SUMS + FEATURES);
    if (types[centre] < 0) {
      std::fill(sums, sums + SUMS + FEATURES, real(0));
      continue;
    }
    surround(
        coord, types, moments, list + number * length, length, centre, first, w, found);
    Sums here;
    for (int64_t k = 0; k < found.count; ++k) {
      const Pair& p = found.pairs[k];
      Vec dressing[N], value[N];
      dress(w, p, found.layers(k) + (LAYERS - 1) * WIDEST, dressing);
      radial(w.values, p, value);
#pragma GCC unroll 16
      for (int c = 0; c < N; ++c) value[c] = value[c] * dressing[c] * Vec(p.weight);
      here.add(p, value);
    }
    here.store(
        w.on_site + types[centre] * CHANNELS_V, moments + 3 * centre, sums);
    invariants_of(sums, sums + SUMS);
  }
}

void describe(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const Weights& w, int64_t frames, int64_t all, int64_t local,
    int64_t length, real* out) {
  share(frames * local, [&](int64_t begin, int64_t end, int) {
    describe_some(
        coord, types, moments, list, w, begin, end, all, local, length, out);
  });
}

// Dressings of pairs that were met. States have few moments, and pairs of atoms in the
// same two states at the same angle have the same one.
class Met {
 public:
  Met() : entries(SIZE) {}

  const real* dressing(const Weights& w, const Pair& p) {
    if (p.bare) return w.bare + p.types * CHANNELS;
    Entry& found = entries[place(p)];
    const real* x = p.invariants;
    if (!(found.types == p.types && found.x[0] == x[0] && found.x[1] == x[1] &&
          found.x[2] == x[2])) {
      real layers[LAYERS * WIDEST];
      Vec made[N];
      hide(w, p, layers);
      dress(w, p, layers + (LAYERS - 1) * WIDEST, made);
      for (int c = 0; c < N; ++c) made[c].store(found.dressing + c * W);
      found.types = p.types;
      for (int q = 0; q < 3; ++q) found.x[q] = x[q];
    }
    return found.dressing;
  }

 private:
  static constexpr int BITS = 7, SIZE = 1 << BITS;

  struct Entry {
    int64_t types = -1;
    real x[3], dressing[CHANNELS];
  };

  static uint64_t place(const Pair& p) {
    uint64_t mixed = uint64_t(p.types);
    for (const real x : p.invariants) {
      const double same = x;
      uint64_t bits;
      std::memcpy(&bits, &same, sizeof bits);
      mixed = (mixed ^ bits) * 0x9e3779b97f4a7c15ull;
      mixed ^= mixed >> 32;
    }
    return (mixed * 0x9e3779b97f4a7c15ull) >> (64 - BITS);
  }

  std::vector<Entry> entries;
};

// Invariants of each atom of each frame in many states: moments (frames, states, all).
inline void describe_states_some(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const Weights& w, int64_t begin, int64_t end, int64_t all,
    int64_t local, int64_t length, int64_t states, real* out) {
  Surroundings found(length);
  std::vector<real> radials(length * CHANNELS);
  Met met;
  real sums[SUMS];
  for (int64_t number = begin; number < end; ++number) {
    const int64_t frame = number / local, first = frame * all;
    const int64_t centre = first + number % local;
    real* features = out + (frame * states * local + number % local) * FEATURES;
    if (types[centre] < 0) {
      for (int64_t s = 0; s < states; ++s, features += local * FEATURES)
        std::fill(features, features + FEATURES, real(0));
      continue;
    }
    find(coord, types, list + number * length, length, centre, first, found);
    for (int64_t k = 0; k < found.count; ++k) {
      const Pair& p = found.pairs[k];
      Vec value[N];
      radial(w.values, p, value);
      for (int c = 0; c < N; ++c)
        (value[c] * Vec(p.weight)).store(radials.data() + k * CHANNELS + c * W);
    }
    for (int64_t s = 0; s < states; ++s, features += local * FEATURES) {
      // Atoms are numbered over all frames, moments over all frames and states.
      const real* here = moments + 3 * (frame * states + s - frame) * all;
      magnetise(here, centre, found);
      Sums total;
      for (int64_t k = 0; k < found.count; ++k) {
        const Pair& p = found.pairs[k];
        const real* dressing = met.dressing(w, p);
        Vec value[N];
#pragma GCC unroll 16
        for (int c = 0; c < N; ++c)
          value[c] = load(radials.data() + k * CHANNELS + c * W) * load(dressing + c * W);
        total.add(p, value);
      }
      total.store(w.on_site + types[centre] * CHANNELS_V, here + 3 * centre, sums);
      invariants_of(sums, features);
    }
  }
}

void describe_states(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const Weights& w, int64_t frames, int64_t all, int64_t local,
    int64_t length, int64_t states, real* out) {
  share(frames * local, [&](int64_t begin, int64_t end, int) {
    describe_states_some(
        coord, types, moments, list, w, begin, end, all, local, length, states, out);
  });
}

// Slopes in positions and scaled moments of all atoms, their share of the virial, and
// their repulsion; out begins with the first atom of some frame.
inline void slopes_some(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const real* described, const real* feature_slope,
    const Weights& w, int64_t begin, int64_t end, int64_t all, int64_t local,
    int64_t length, int64_t first_out, double* out) {
  Surroundings found(length);
  real back[SUMS];
  real* back_v = back + 4 * CHANNELS_T;
  real* back_q = back_v + 3 * CHANNELS_V;
  for (int64_t number = begin; number < end; ++number) {
    const int64_t first = number / local * all, centre = first + number % local;
    if (types[centre] < 0) continue;
    surround(
        coord, types, moments, list + number * length, length, centre, first, w, found);
    const real* own = moments + 3 * centre;
    const real* sums = described + number * (SUMS + FEATURES);
    const real* slope = feature_slope + number * FEATURES;
    contract_back<4, CHANNELS_T, USED_T, AXIS_T>(sums, slope, back);
    slope += USED_T * AXIS_T;
    contract_back<3, CHANNELS_V, USED_V, AXIS_V>(
        sums + 4 * CHANNELS_T, slope, back_v);
    slope += USED_V * AXIS_V;
    if constexpr (NQ > 0)
      contract_back<5, CHANNELS_Q, USED_Q, AXIS_Q>(
          sums + 4 * CHANNELS_T + 3 * CHANNELS_V, slope, back_q);
    double own_slope[3] = {}, own_force[3] = {};
    for (int r = 0; r < 3; ++r) {
      Vec sum(real(0));
      for (int c = 0; c < NV; ++c)
        sum = at::vec::fmadd(
            load(w.on_site + types[centre] * CHANNELS_V + c * W),
            load(back_v + r * CHANNELS_V + c * W), sum);
      own_slope[r] = total(sum);
    }
    // From here on slopes in Σ_j value_j unit_j: without the scales.
    for (int k = 0; k < 4 * CHANNELS_T; ++k) back[k] *= SCALE_T[k / CHANNELS_T];
    for (int k = 0; k < 3 * CHANNELS_V; ++k) back_v[k] *= SCALE_V;
    for (int k = 0; k < 5 * CHANNELS_Q; ++k) back_q[k] *= SCALE_Q;
    real layer_slope[2][WIDEST], channel[CHANNELS];
    for (int64_t k = 0; k < found.count; ++k) {
      const Pair& p = found.pairs[k];
      const real* layers = found.layers(k);
      Vec dressing[N], value[N], value_slope[N];
      dress(w, p, layers + (LAYERS - 1) * WIDEST, dressing);
      radial(w.values, p, value);
      radial(w.slopes, p, value_slope);
      const real ux = p.u[0], uy = p.u[1], uz = p.u[2];
      const Vec weight(p.weight), weight_slope(p.weight_slope);
      Vec along(real(0)), by_u[3], by_m[3];
      for (auto& x : by_u) x = Vec(real(0));
      for (auto& x : by_m) x = Vec(real(0));
#pragma GCC unroll 16
      for (int c = 0; c < NT; ++c) {
        const Vec dressed = value[c] * dressing[c];
        Vec sum = load(back + c * W);
#pragma GCC unroll 3
        for (int a = 0; a < 3; ++a) {
          const Vec row = load(back + (1 + a) * CHANNELS_T + c * W);
          sum = at::vec::fmadd(row, Vec(p.u[a]), sum);
          by_u[a] = at::vec::fmadd(row, dressed, by_u[a]);
        }
        const Vec change = weight * dressing[c] * value_slope[c] + weight_slope * dressed;
        along = at::vec::fmadd(sum, change, along);
        (sum * value[c] * weight).store(channel + c * W);
      }
#pragma GCC unroll 16
      for (int c = 0; c < NV; ++c) {
        const int b = NT + c;
        const Vec dressed = value[b] * dressing[b];
        Vec sum(real(0));
#pragma GCC unroll 3
        for (int a = 0; a < 3; ++a) {
          const Vec row = load(back_v + a * CHANNELS_V + c * W);
          sum = at::vec::fmadd(row, Vec(p.moment[a]), sum);
          by_m[a] = at::vec::fmadd(row, dressed, by_m[a]);
        }
        const Vec change = weight * dressing[b] * value_slope[b] + weight_slope * dressed;
        along = at::vec::fmadd(sum, change, along);
        (sum * value[b] * weight).store(channel + b * W);
      }
      const real root = real(1.7320508075688772);
#pragma GCC unroll 16
      for (int c = 0; c < NQ; ++c) {
        const int b = NT + NV + c;
        const Vec dressed = value[b] * dressing[b];
        Vec row[5], sum(real(0));
#pragma GCC unroll 5
        for (int r = 0; r < 5; ++r) {
          row[r] = load(back_q + r * CHANNELS_Q + c * W);
          sum = at::vec::fmadd(row[r], Vec(p.y[r]), sum);
        }
        const Vec x(root * ux), yy(root * uy), z(root * uz);
        by_u[0] = at::vec::fmadd(dressed, row[0] * yy + row[2] * z + row[4] * x, by_u[0]);
        by_u[1] = at::vec::fmadd(dressed, row[0] * x + row[1] * z - row[4] * yy, by_u[1]);
        by_u[2] = at::vec::fmadd(
            dressed, row[1] * yy + row[2] * x + row[3] * Vec(real(3) * uz), by_u[2]);
        const Vec change = weight * dressing[b] * value_slope[b] + weight_slope * dressed;
        along = at::vec::fmadd(sum, change, along);
        (sum * value[b] * weight).store(channel + b * W);
      }
      const real turn = p.weight * p.inverse;
      const real sx = total(by_u[0]) * turn, sy = total(by_u[1]) * turn,
                 sz = total(by_u[2]) * turn;
      const real radial_slope = total(along) - (sx * ux + sy * uy + sz * uz);
      const double force[3] = {
          double(sx + radial_slope * ux), double(sy + radial_slope * uy),
          double(sz + radial_slope * uz)};
      double* there = out + (p.atom - first_out) * ROWS_OUT;
      for (int a = 0; a < 3; ++a) {
        there[a] += force[a];
        own_force[a] -= force[a];
        for (int b = 0; b < 3; ++b)
          there[6 + 3 * a + b] += force[a] * p.edge[b];
      }
      for (int a = 0; a < 3; ++a) there[3 + a] += double(total(by_m[a]) * p.weight);
      if (p.bare) continue;  // g is even in the moments
      const int last = LAYERS - 1;
      for (int h = 0; h < WIDTH[last]; h += W) {
        Vec part[4];
        for (auto& x : part) x = Vec(real(0));
#pragma GCC unroll 4
        for (int c = 0; c < CHANNELS; c += 4)
#pragma GCC unroll 4
          for (int d = 0; d < 4; ++d)
            part[d] = at::vec::fmadd(
                Vec(channel[c + d]), load(w.head_back + (c + d) * WIDTH[last] + h),
                part[d]);
        (part[0] + part[1] + (part[2] + part[3])).store(layer_slope[last % 2] + h);
      }
      const real* at = w.hidden;
      for (int l = 1; l < LAYERS; ++l) at += (2 * WIDTH[l - 1] + 1) * WIDTH[l];
      for (int l = last; l > 0; --l) {
        const int in = WIDTH[l - 1], width = WIDTH[l];
        at -= (2 * in + 1) * width;
        const real* reverse = at + (in + 1) * width;  // (width, in)
        for (int h = 0; h < in; h += W) {
          Vec sum(real(0));
          for (int k2 = 0; k2 < width; ++k2) {
            const real x = layers[l * WIDEST + k2];
            sum = at::vec::fmadd(
                Vec(layer_slope[l % 2][k2] * (real(1) - x * x)),
                load(reverse + k2 * in + h), sum);
          }
          sum.store(layer_slope[(l - 1) % 2] + h);
        }
      }
      Vec phi[3];
      for (auto& x : phi) x = Vec(real(0));
      for (int h = 0; h < WIDTH[0]; h += W) {
        const Vec x = load(layers + h);
        const Vec before = load(layer_slope[0] + h) * (Vec(real(1)) - x * x);
        for (int q = 0; q < 3; ++q)
          phi[q] = at::vec::fmadd(before, load(w.first + q * WIDTH[0] + h), phi[q]);
      }
      const real own_sq = real(2) * total(phi[0]), other_sq = real(2) * total(phi[1]),
                 product = total(phi[2]);
      for (int a = 0; a < 3; ++a) {
        there[3 + a] += double(other_sq * p.moment[a] + product * own[a]);
        own_slope[a] += double(own_sq * own[a] + product * p.moment[a]);
      }
    }
    double* here = out + (centre - first_out) * ROWS_OUT;
    for (int a = 0; a < 3; ++a) {
      here[a] += own_force[a];
      here[3 + a] += own_slope[a];
    }
    if constexpr (REPULSION_REACH > 0.0)
      repel(found, w.repulsion, first_out, here, out);
  }
}

void slopes(
    const double* coord, const int64_t* types, const real* moments,
    const int64_t* list, const real* described, const real* feature_slope,
    const Weights& w, int64_t frames, int64_t all, int64_t local, int64_t length,
    double* out) {
  std::fill(out, out + frames * all * ROWS_OUT, 0.0);
  // Neighbours are written to, so each thread but the first has rows of its own.
  std::vector<std::vector<double>> rows(omp_get_max_threads());
  std::vector<int64_t> first(rows.size());
  share(frames * local, [&](int64_t begin, int64_t end, int thread) {
    double* target = out;
    if (thread > 0) {
      const int64_t frame = begin / local, after = (end - 1) / local + 1;
      first[thread] = frame * all;
      rows[thread].assign((after - frame) * all * ROWS_OUT, 0.0);
      target = rows[thread].data();
    }
    slopes_some(
        coord, types, moments, list, described, feature_slope, w, begin, end, all,
        local, length, first[thread], target);
  });
  for (size_t thread = 1; thread < rows.size(); ++thread) {
    double* target = out + first[thread] * ROWS_OUT;
    for (const double value : rows[thread]) *target++ += value;
  }
}

// Repulsion of each atom of each frame, where no slopes are asked for.
void repulsion(
    const double* coord, const int64_t* types, const real*, const int64_t* list,
    const Weights& w, int64_t frames, int64_t all, int64_t local, int64_t length,
    double* out) {
  share(frames * local, [&](int64_t begin, int64_t end, int) {
    for (int64_t number = begin; number < end; ++number) {
      const int64_t first = number / local * all, centre = first + number % local;
      const double* own = coord + 3 * centre;
      const int64_t* near = list + number * length;
      double sum = 0.0;
      for (int64_t k = 0; k < (types[centre] < 0 ? 0 : length); ++k) {
        if (near[k] < 0) continue;
        const double* other = coord + 3 * (first + near[k]);
        const double x = other[0] - own[0], y = other[1] - own[1], z = other[2] - own[2];
        const double square = x * x + y * y + z * z;
        if (square >= REPULSION_REACH * REPULSION_REACH) continue;
        const int64_t type = std::max<int64_t>(types[first + near[k]], 0);
        const double* pair = w.repulsion + 4 * (types[centre] * TYPES + type);
        if (square < pair[3] * pair[3])
          sum += repulsion_of(pair, std::sqrt(square)).energy;
      }
      out[number] = sum;
    }
  });
}
