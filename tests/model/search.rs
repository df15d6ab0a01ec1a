//! Breadth first through all states, so that the first violation found has the shortest story.

use std::time::{Duration, Instant};

use crate::{
    adversity::{Adversity, after, steps},
    canon::canonical,
    hash::{self, Set, bytes_of},
    liveness::Liveness,
    state::{Model, State, Violation},
    story::Story,
};

/// What is to be searched.
pub(crate) struct Search {
    pub(crate) model: Model,
    pub(crate) adversity: Adversity,
    /// Every n-th state has to come to rest; 0: none.
    pub(crate) liveness: u32,
    /// States after which the search is given up, unfinished.
    pub(crate) limit: usize,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    pub(crate) questions: usize,
    pub(crate) time: Duration,
    /// Memory of the tables, in the end, and of the largest level.
    pub(crate) bytes: usize,
    pub(crate) is_whole: bool,
    pub(crate) counterexample: Option<Counterexample>,
}

/// A violation, and how it comes about.
pub(crate) struct Counterexample {
    pub(crate) violation: Violation,
    pub(crate) story: Vec<String>,
}

/// How a state was reached first: from which, by which of its steps.
#[derive(Clone, Copy)]
struct Parent {
    state: u32,
    step: u16,
}

impl Search {
    pub(crate) fn run(mut self, start: State) -> Found {
        let began = Instant::now();
        let mut start = start;
        canonical(&mut start);
        let mut seen: Set<u128> = Set::default();
        seen.insert(hash::wide(&start));
        let mut parents = vec![Parent { state: 0, step: 0 }];
        let mut level = vec![(0_u32, start)];
        let mut liveness = Liveness::default();
        let (mut transitions, mut depth, mut is_whole) = (0, 0, true);
        let (mut counterexample, mut largest) = (None, 0);
        'search: while !level.is_empty() {
            let mut next = Vec::new();
            for (number, state) in &level {
                if self.liveness > 0
                    && number % self.liveness == 0
                    && let Err(violation) = liveness.check(&mut self.model, state, None)
                {
                    let mut story = self.story(&start, &parents, *number, None);
                    story.lines.push("… and from here on, with no more faults:".to_owned());
                    let again = Liveness::default().check(&mut self.model, state, Some(&mut story));
                    assert!(again.is_err(), "it was wrong before");
                    counterexample = Some(Counterexample { violation, story: story.lines });
                    break 'search;
                }
                for (index, step) in steps(&mut self.model, &self.adversity, state).into_iter().enumerate() {
                    transitions += 1;
                    let mut reached = after(&mut self.model, state, step);
                    if let Some(violation) = self.model.violation.take() {
                        let story = self.story(&start, &parents, *number, Some(index));
                        counterexample = Some(Counterexample { violation, story: story.lines });
                        break 'search;
                    }
                    canonical(&mut reached);
                    if seen.insert(hash::wide(&reached)) {
                        parents.push(Parent { state: *number, step: index as u16 });
                        next.push(((parents.len() - 1) as u32, reached));
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            depth += 1;
            largest = largest.max((level.capacity() + next.capacity()) * size_of::<(u32, State)>());
            level = next;
            if parents.len() > self.limit {
                is_whole = false;
                break;
            }
        }
        Found {
            states: parents.len(),
            transitions,
            depth,
            questions: self.model.brain.asked(),
            time: began.elapsed(),
            bytes: self.model.brain.bytes() + liveness.bytes() + largest + bytes_of(&seen) + parents.capacity() * size_of::<Parent>(),
            is_whole,
            counterexample,
        }
    }

    /// How a state comes about, and what its step of that number does.
    fn story(&mut self, start: &State, parents: &[Parent], number: u32, last: Option<usize>) -> Story {
        let mut path: Vec<usize> = last.into_iter().collect();
        let mut number = number;
        while number != 0 {
            path.push(parents[number as usize].step.into());
            number = parents[number as usize].state;
        }
        let mut story = Story::new();
        let mut state = *start;
        for index in path.into_iter().rev() {
            let step = steps(&mut self.model, &self.adversity, &state)[index];
            story.tell(&mut self.model, &state, step);
            state = after(&mut self.model, &state, step);
            let is_swapped = canonical(&mut state);
            story.after(&state, is_swapped);
        }
        self.model.violation = None;
        story
    }
}
