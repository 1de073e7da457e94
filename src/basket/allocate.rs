//! Shares that sum exactly.

/// `amount × part ÷ whole`, half a unit rounded up; all arguments at least 0, `whole` above 0.
pub(super) fn share_half_up(amount: i64, part: i64, whole: i64) -> i64 {
    match amount.checked_mul(part).and_then(|n| n.checked_mul(2)).and_then(|n| n.checked_add(whole)) {
        Some(n) => n / (2 * whole),
        None => {
            let n = i128::from(amount) * i128::from(part) * 2 + i128::from(whole);
            i64::try_from(n / (2 * i128::from(whole))).unwrap_or(i64::MAX)
        }
    }
}

/// Splits `total` in proportion to `weights` by the method of the largest remainder; of equal remainders the first wins.
/// All arguments at least 0. The shares sum exactly to `total`, and none is above its weight if `total` is not above the
/// sum of the weights. Without any weight there are no shares.
pub(super) fn allocate(total: i64, weights: &[i64], shares: &mut Vec<i64>) {
    shares.clear();
    let whole: i64 = weights.iter().sum();
    if whole == 0 || total == 0 {
        shares.resize(weights.len(), 0);
        return;
    }
    let mut remainders = Vec::with_capacity(weights.len());
    let mut given = 0;
    for (at, weight) in weights.iter().enumerate() {
        let (share, remainder) = match total.checked_mul(*weight) {
            Some(n) => (n / whole, n % whole),
            None => {
                let (n, whole) = (i128::from(total) * i128::from(*weight), i128::from(whole));
                (i64::try_from(n / whole).unwrap_or(i64::MAX), i64::try_from(n % whole).unwrap_or(0))
            }
        };
        given += share;
        shares.push(share);
        remainders.push((std::cmp::Reverse(remainder), at));
    }
    let missing = usize::try_from(total - given).unwrap_or(0);
    if missing > 0 {
        // Who gets one is all that counts, not in which order.
        if missing < remainders.len() {
            remainders.select_nth_unstable(missing);
        }
        for (_, at) in remainders.iter().take(missing) {
            if let Some(share) = shares.get_mut(*at) {
                *share += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        let mut shares = Vec::new();
        for (total, weights, expected) in [
            (100, &[1, 1, 1][..], &[34, 33, 33][..]),
            (5, &[0, 10], &[0, 5]),
            (0, &[3, 4], &[0, 0]),
            (7, &[], &[]),
            (10, &[1, 2, 4], &[1, 3, 6]),
        ] {
            allocate(total, weights, &mut shares);
            assert_eq!(shares, expected, "{total} by {weights:?}");
        }
        assert_eq!([share_half_up(333, 1, 2), share_half_up(332, 1, 3)], [167, 111]);
    }

    proptest! {
        #[test]
        fn sums_exactly_and_stays_below_the_weight(
            weights in prop::collection::vec(0i64..1_000_000_000_000, 1..40), part in 0i64..=1_000_000,
        ) {
            let whole: i64 = weights.iter().sum();
            let total = share_half_up(whole, part, 1_000_000);
            let mut shares = Vec::new();
            allocate(total, &weights, &mut shares);
            prop_assert_eq!(shares.iter().sum::<i64>(), total);
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!((0..=*weight).contains(share));
            }
        }
    }
}
