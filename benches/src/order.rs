//! In which order the columns of a round are run: balanced for what one run leaves behind for the next.
//!
//! A process finds the machine as the one before it has left it: which of its free memory was used just now, how warm
//! and how busy it is. Where rounds only begin with another column each, every column follows the same other one for
//! ever. These follow Williams' design instead; for eight columns, the first row of a table:
//!
//! ```text
//! round 0    0 1 7 2 6 3 5 4      n even: n rounds, then the same again
//! round 1    1 2 0 3 7 4 6 5      n odd:  every second round turns the other way (r, r-1, r+1, r-2 …), 2n rounds
//! round 2    2 3 1 4 0 5 7 6
//! ```
//!
//! A run of few rounds sees few of these neighbours. Therefore the next row counts in other strides, here of three
//! columns (0 3 5 6 2 1 7 4), and so on through all that have no divisor in common with n.
//!
//! * **I1** Over these rounds each column comes directly after each other one equally often, in every row.
//! * **I2** Every row's first round begins with column `first`, and over n rounds each column begins once.

/// Which round of which row of the table; both counted from 0.
#[derive(Clone, Copy)]
pub struct Place {
    /// The row.
    pub row: usize,
    /// The round.
    pub round: u32,
}

/// The columns of a round of a row, each once, of `n_columns` of which `first` begins the very first round.
pub fn columns(n_columns: usize, first: usize, place: Place) -> impl Iterator<Item = usize> {
    let Place { row, round } = place;
    let stride = stride(n_columns, row);
    let turns_back = n_columns % 2 == 1 && round % 2 == 1;
    (0..n_columns).map(move |turn| {
        let distance = turn.div_ceil(2);
        let is_behind = (turn % 2 == 0) != turns_back;
        let away = match is_behind {
            true => n_columns - distance,
            false => distance,
        };
        (first + stride * (round as usize + away)) % n_columns
    })
}

/// How far apart the columns lie in a row that are beside each other in the first one. What has no divisor in common
/// with their number comes by each of them.
fn stride(n_columns: usize, row: usize) -> usize {
    let mut strides = (1..=n_columns).filter(|&stride| divisor(n_columns, stride) == 1);
    let n_strides = strides.clone().count().max(1);
    strides.nth(row % n_strides).unwrap_or(1)
}

/// The greatest divisor of both.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(n: usize, first: usize, row: usize) -> Vec<Vec<usize>> {
        let n_rounds = if n.is_multiple_of(2) { n } else { 2 * n };
        let round = |round| columns(n, first, Place { row, round }).collect();
        (0..n_rounds as u32).map(round).collect()
    }

    /// How often each column comes directly after each other one.
    fn followed(rounds: &[Vec<usize>]) -> Vec<Vec<u32>> {
        let n = rounds[0].len();
        let mut n_times = vec![vec![0; n]; n];
        for pair in rounds.iter().flat_map(|round| round.windows(2)) {
            n_times[pair[0]][pair[1]] += 1;
        }
        n_times
    }

    #[test]
    fn each_column_follows_each_other_one_equally_often() {
        for (n, row) in (2..=9).flat_map(|n| (0..7).map(move |row| (n, row))) {
            let rounds = rounds(n, n / 2, row);
            for round in &rounds {
                let mut sorted = round.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..n), "{n} columns: {round:?}");
            }
            let often = if n.is_multiple_of(2) { 1 } else { 2 };
            for (before, n_times) in followed(&rounds).into_iter().enumerate() {
                for (after, times) in n_times.into_iter().enumerate() {
                    let wanted = if before == after { 0 } else { often };
                    assert_eq!(
                        times, wanted,
                        "{n} columns, row {row}: {before} before {after}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_first_round_begins_with_the_first_column_and_each_of_n_with_another() {
        for (n, row) in (2..=9).flat_map(|n| (0..7).map(move |row| (n, row))) {
            let rounds = rounds(n, n - 1, row);
            assert_eq!(rounds[0][0], n - 1, "{n} columns, row {row}");
            for n_rounds in rounds.chunks(n) {
                let mut begins: Vec<usize> = n_rounds.iter().map(|round| round[0]).collect();
                begins.sort_unstable();
                assert!(begins.iter().copied().eq(0..n), "{n} columns: {begins:?}");
            }
        }
    }

    #[test]
    fn the_picture_of_the_module_is_right() {
        let of = |row, round| columns(8, 0, Place { row, round }).collect::<Vec<_>>();
        assert_eq!(of(0, 0), [0, 1, 7, 2, 6, 3, 5, 4]);
        assert_eq!(of(0, 2), [2, 3, 1, 4, 0, 5, 7, 6]);
        assert_eq!(of(1, 0), [0, 3, 5, 6, 2, 1, 7, 4]);
    }

    #[test]
    fn one_column_and_none_have_an_order_too() {
        let place = Place { row: 2, round: 5 };
        assert!(columns(1, 0, place).eq([0]));
        assert_eq!(columns(0, 0, place).count(), 0);
    }
}
