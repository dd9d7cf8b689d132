//! The chain of numbered files, `base.1` (the newest) to `base.<backupCount>`: which is renamed to what.
//!
//! In: the numbers that exist, and those taken by something that is not ours. Out: the steps, in order. Pure.
//! A shift that a death has interrupted is taken back, and planned anew when it is due.
//! As the standard library shifts, so that gaps stay gaps, with two differences: nothing is overwritten, and a number that is
//! taken by something foreign (a directory, a link, another owner's file, a file being written) is stepped over.

use std::collections::{BTreeMap, VecDeque};

/// One step of a shift. Number 0 is the active file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Delete this number: the oldest.
    Remove(u32),
    /// Rename the first to the second, which is free by then.
    Move(u32, u32),
}

/// Whether a number's file is part of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Ours,
    Foreign,
}

/// The steps that make room for the active file and move it there; none if every number is taken by something foreign.
pub(crate) fn plan(taken: &BTreeMap<u32, Slot>, backup_count: u32) -> Option<VecDeque<Step>> {
    let first = first(taken, backup_count)?;
    let usable_after = |number: u32| {
        let mut candidate = number.checked_add(1)?;
        while taken.get(&candidate) == Some(&Slot::Foreign) {
            candidate = candidate.checked_add(1)?;
        }
        (candidate <= backup_count).then_some(candidate)
    };
    let ours = |number: &u32| taken.get(number) == Some(&Slot::Ours);
    let mut steps = VecDeque::new();
    for number in taken
        .keys()
        .rev()
        .filter(|number| **number <= backup_count && ours(number))
    {
        match usable_after(*number) {
            // Deleted only when something moves in, which is always so unless there is a gap below.
            None => {}
            Some(next) => {
                if ours(&next) && usable_after(next).is_none() {
                    steps.push_back(Step::Remove(next));
                }
                steps.push_back(Step::Move(*number, next));
            }
        }
    }
    if ours(&first) && usable_after(first).is_none() {
        steps.push_back(Step::Remove(first));
    }
    steps.push_back(Step::Move(0, first));
    Some(steps)
}

/// The number that the active file gets.
pub(crate) fn first(taken: &BTreeMap<u32, Slot>, backup_count: u32) -> Option<u32> {
    (1..=backup_count).find(|number| taken.get(number) != Some(&Slot::Foreign))
}

/// The steps that make a shift that was interrupted fit to be run again: where files stand close together up to the last
/// number and there is a gap below them, they go down by one, so that none is pushed out. Taken again from the middle, they
/// come to the same.
pub(crate) fn undo(taken: &BTreeMap<u32, Slot>, backup_count: u32) -> VecDeque<Step> {
    let ours = |number: &u32| taken.get(number) == Some(&Slot::Ours);
    let mut usable = (1..=backup_count)
        .rev()
        .filter(|number| taken.get(number) != Some(&Slot::Foreign));
    let mut steps = VecDeque::new();
    let Some(mut upper) = usable.next().filter(ours) else {
        return steps;
    };
    for number in usable {
        steps.push_front(Step::Move(upper, number));
        if !ours(&number) {
            return steps;
        }
        upper = number;
    }
    // No gap: not even the oldest is gone, so that nothing has begun.
    VecDeque::new()
}

/// Reads a number as the chain writes it: from 1, without leading zeros.
pub(crate) fn read_number(digits: &[u8]) -> Option<u32> {
    let canonical = digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit))
        && digits.iter().all(u8::is_ascii_digit);
    canonical
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::{Slot, Step, plan, read_number, undo};

    fn steps(ours: &[u32], foreign: &[u32], backup_count: u32) -> Option<Vec<Step>> {
        let taken = ours
            .iter()
            .map(|n| (*n, Slot::Ours))
            .chain(foreign.iter().map(|n| (*n, Slot::Foreign)))
            .collect();
        plan(&taken, backup_count).map(Vec::from)
    }

    #[test]
    fn a_full_chain_loses_its_oldest() {
        let wanted = vec![
            Step::Remove(3),
            Step::Move(2, 3),
            Step::Move(1, 2),
            Step::Move(0, 1),
        ];
        assert_eq!(steps(&[1, 2, 3], &[], 3), Some(wanted));
        assert_eq!(steps(&[1], &[], 1), Some(vec![Step::Remove(1), Step::Move(0, 1)]));
    }

    #[test]
    fn gaps_and_higher_numbers_stay() {
        assert_eq!(
            steps(&[1, 3, 9], &[], 5),
            Some(vec![Step::Move(3, 4), Step::Move(1, 2), Step::Move(0, 1)])
        );
        assert_eq!(steps(&[3], &[], 3), Some(vec![Step::Move(0, 1)]));
    }

    #[test]
    fn a_foreign_number_is_stepped_over_and_never_removed() {
        assert_eq!(
            steps(&[1], &[2], 3),
            Some(vec![Step::Move(1, 3), Step::Move(0, 1)])
        );
        assert_eq!(
            steps(&[1, 2], &[3], 3),
            Some(vec![Step::Remove(2), Step::Move(1, 2), Step::Move(0, 1)])
        );
        assert_eq!(
            steps(&[2], &[1], 2),
            Some(vec![Step::Remove(2), Step::Move(0, 2)])
        );
        assert_eq!(steps(&[], &[1, 2], 2), None);
    }

    #[test]
    fn nothing_is_ever_moved_onto_what_exists() {
        // Every combination of six numbers, each absent, ours or foreign.
        for code in 0..3_u32.pow(6) {
            let state = |n: u32| code / 3_u32.pow(n - 1) % 3;
            let ours: Vec<u32> = (1..=6).filter(|n| state(*n) == 1).collect();
            let foreign: Vec<u32> = (1..=6).filter(|n| state(*n) == 2).collect();
            let mut present: Vec<u32> = ours.iter().chain(&foreign).copied().chain([0]).collect();
            let before = present.len();
            let Some(steps) = steps(&ours, &foreign, 6) else {
                continue;
            };
            let removed = steps
                .iter()
                .filter(|step| matches!(step, Step::Remove(_)))
                .count();
            for step in steps {
                let (Step::Remove(from) | Step::Move(from, _)) = step;
                assert!(!foreign.contains(&from), "{code}: {step:?}");
                let place = present
                    .iter()
                    .position(|n| *n == from)
                    .unwrap_or_else(|| panic!("{code}: {step:?}"));
                present.remove(place);
                if let Step::Move(_, to) = step {
                    assert!(!present.contains(&to), "{code}: {step:?}");
                    present.push(to);
                }
            }
            assert!(
                !present.contains(&0) && present.len() == before - removed && removed <= 1,
                "{code}"
            );
        }
    }

    /// Takes the first `count` steps in a directory of numbers and names.
    fn take(steps: VecDeque<Step>, count: usize, directory: &mut BTreeMap<u32, u32>) {
        for step in steps.into_iter().take(count) {
            let (Step::Remove(from) | Step::Move(from, _)) = step;
            let file = directory.remove(&from).unwrap();
            if let Step::Move(_, to) = step {
                assert_eq!(directory.insert(to, file), None);
            }
        }
    }

    #[test]
    fn a_shift_that_is_interrupted_anywhere_and_taken_back_and_run_again_loses_no_file_more() {
        const COUNT: u32 = 5;
        let mut interrupted = 0;
        let mut saved = 0;
        for code in 0..3_u32.pow(COUNT) {
            let state = |n: u32| code / 3_u32.pow(n - 1) % 3;
            let foreign: Vec<u32> = (1..=COUNT).filter(|n| state(*n) == 2).collect();
            // Number 0 is the active file; each file is called by the number it had.
            let before: BTreeMap<u32, u32> = (0..=COUNT)
                .filter(|n| *n == 0 || state(*n) == 1)
                .map(|n| (n, n))
                .collect();
            let taken = |directory: &BTreeMap<u32, u32>| -> BTreeMap<u32, Slot> {
                let ours = directory.keys().filter(|n| **n > 0).map(|n| (*n, Slot::Ours));
                ours.chain(foreign.iter().map(|n| (*n, Slot::Foreign))).collect()
            };
            let Some(steps) = plan(&taken(&before), COUNT) else {
                continue;
            };
            let mut straight = before.clone();
            take(steps.clone(), usize::MAX, &mut straight);
            for done in 0..steps.len() {
                for undone in 0..6 {
                    let mut directory = before.clone();
                    take(steps.clone(), done, &mut directory);
                    let mut again = directory.clone();
                    take(plan(&taken(&again), COUNT).unwrap(), usize::MAX, &mut again);
                    saved += u32::from(again.len() < straight.len());
                    // The taking back dies, too.
                    take(undo(&taken(&directory), COUNT), undone, &mut directory);
                    take(undo(&taken(&directory), COUNT), usize::MAX, &mut directory);
                    take(
                        plan(&taken(&directory), COUNT).unwrap(),
                        usize::MAX,
                        &mut directory,
                    );
                    let kept = |name: &u32| directory.values().any(|file| file == name);
                    assert!(
                        straight.values().all(kept),
                        "{code} {done} {undone}: {straight:?} {directory:?}"
                    );
                    let order: Vec<&u32> = directory.values().collect();
                    assert!(order.is_sorted(), "{code} {done} {undone}: {directory:?}");
                    interrupted += 1;
                }
            }
        }
        assert!(interrupted > 1000 && saved > 100, "{interrupted} {saved}");
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        assert_eq!(read_number(b"17"), Some(17));
        for foreign in ["", "0", "01", "1a", "-1", "4294967296"] {
            assert_eq!(read_number(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
