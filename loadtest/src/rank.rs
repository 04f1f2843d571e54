//! Rank correlation of arriving and of being served.

/// Returns Kendall's tau-b of pairs, each what came first and what was served first: 1 where the
/// two orders agree, 0 for a lottery, -1 where they are opposite. `None` with fewer than two
/// different values on either side.
///
/// Source: Knight, "A computer method for calculating Kendall's tau with ungrouped data", JASA
/// 61 (1966): inversions counted by a merge sort.
pub(crate) fn kendall_tau(mut pairs: Vec<(u64, u64)>) -> Option<f64> {
    pairs.sort_unstable();
    let all = choose_two(pairs.len());
    let tied_first = ties(&pairs, |pair| pair.0);
    let tied_both = ties(&pairs, |pair| *pair);
    let mut second: Vec<u64> = pairs.iter().map(|pair| pair.1).collect();
    let mut scratch = second.clone();
    let inversions = sort_counting(&mut second, &mut scratch);
    let tied_second = ties(&second, |value| *value);
    let apart = (all - tied_first) * (all - tied_second);
    let agreeing = all - tied_first - tied_second + tied_both - 2.0 * inversions;
    (apart > 0.0).then(|| (agreeing / apart.sqrt()).clamp(-1.0, 1.0))
}

fn choose_two(count: usize) -> f64 {
    let count = count as f64;
    count * (count - 1.0) / 2.0
}

/// Counts pairs of neighbours' runs with the same key.
fn ties<T, K: PartialEq>(sorted: &[T], key: impl Fn(&T) -> K) -> f64 {
    sorted.chunk_by(|a, b| key(a) == key(b)).map(|run| choose_two(run.len())).sum()
}

/// Sorts and returns how many pairs stood in the wrong order.
fn sort_counting(values: &mut [u64], scratch: &mut [u64]) -> f64 {
    let middle = values.len() / 2;
    if middle == 0 {
        return 0.0;
    }
    let (left, right) = values.split_at_mut(middle);
    let (left_scratch, right_scratch) = scratch.split_at_mut(middle);
    let mut inversions = sort_counting(left, left_scratch) + sort_counting(right, right_scratch);
    let (mut from_left, mut from_right) = (0, 0);
    for slot in scratch.iter_mut() {
        let take_left = match (left.get(from_left), right.get(from_right)) {
            (Some(one), Some(other)) => one <= other,
            (one, _) => one.is_some(),
        };
        if take_left {
            *slot = left[from_left];
            from_left += 1;
        } else {
            *slot = right[from_right];
            from_right += 1;
            inversions += (left.len() - from_left) as f64;
        }
    }
    values.copy_from_slice(scratch);
    inversions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// By the definition: agreeing minus disagreeing pairs, over the pairs that are apart.
    fn slow(pairs: &[(u64, u64)]) -> Option<f64> {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                let sign = |a: u64, b: u64| f64::from(a.cmp(&b) as i8);
                let (a, b) = (sign(one.0, other.0), sign(one.1, other.1));
                sum += a * b;
                first += a.abs();
                second += b.abs();
            }
        }
        (first * second > 0.0).then(|| sum / f64::sqrt(first * second))
    }

    /// The fast count agrees with the definition, ties included.
    #[test]
    fn tau_agrees_with_its_definition() {
        for seed in 0..200 {
            let mut rng = Rng::of_item(seed, 0);
            let count = rng.below(40);
            let pairs: Vec<_> = (0..count).map(|_| (rng.below(12), rng.below(12))).collect();
            match (kendall_tau(pairs.clone()), slow(&pairs)) {
                (Some(fast), Some(slow)) => assert!((fast - slow).abs() < 1e-9, "seed {seed}"),
                (fast, slow) => assert_eq!(fast, slow, "seed {seed}"),
            }
        }
        assert_eq!(kendall_tau((0..9).map(|at| (at, at * 3)).collect()), Some(1.0));
        assert_eq!(kendall_tau((0..9).map(|at| (at, 99 - at)).collect()), Some(-1.0));
    }
}
