//! Long random histories: deeper than a search gets, with more going wrong than it can afford.

use crate::{
    adversity::{Adversity, Step, after, steps},
    canon::renumber,
    liveness::Liveness,
    perform::Outcome,
    search::Counterexample,
    state::{Model, State, Violation},
    story::Story,
};

/// SplitMix64: the same histories on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn roll(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(below)) >> 64) as u32
    }
}

/// One history of so many steps, and its coming to rest; the shortest that can be made of it if it shows a violation.
pub(crate) fn walk(model: &mut Model, adversity: &Adversity, start: &State, dice: &mut Dice, length: usize) -> Option<Counterexample> {
    let mut state = *start;
    let mut history = Vec::new();
    for _ in 0..length {
        let possible = steps(model, adversity, &state);
        let total = possible.iter().map(weight).sum();
        let mut rest = dice.roll(total);
        let step = *possible.iter().find(|step| rest.checked_sub(weight(step)).map(|less| rest = less).is_none())?;
        history.push(step);
        state = after(model, &state, step);
        renumber(&mut state);
        if model.violation.is_some() {
            break;
        }
    }
    replay(model, adversity, start, &history, None)?;
    shorten(model, adversity, start, &mut history);
    let mut story = Story::new();
    let violation = replay(model, adversity, start, &history, Some(&mut story))?;
    Some(Counterexample { violation, story: story.lines })
}

/// What is worth more is likelier: passes get on with it, and trouble is rare.
fn weight(step: &Step) -> u32 {
    match step {
        Step::Read { bogus: false, .. } | Step::Perform { outcome: Outcome::Plain, .. } | Step::ReadBack { .. } | Step::Status { .. } => 40,
        Step::Begin { .. } | Step::Collect { .. } => 20,
        Step::Time { .. } | Step::LateWrite | Step::Relist | Step::Sweep => 8,
        Step::LoseEvent
        | Step::Edit(_)
        | Step::Kill { .. }
        | Step::EndDrain
        | Step::Read { .. }
        | Step::Perform { .. }
        | Step::Crash { .. } => 1,
    }
}

/// Does these steps, as far as they are possible, and then nothing more goes wrong.
fn replay(model: &mut Model, adversity: &Adversity, start: &State, history: &[Step], mut story: Option<&mut Story>) -> Option<Violation> {
    model.violation = None;
    let mut state = *start;
    for step in history {
        if !steps(model, adversity, &state).contains(step) {
            continue;
        }
        if let Some(story) = &mut story {
            story.tell(model, &state, *step);
        }
        state = after(model, &state, *step);
        renumber(&mut state);
        if let Some(violation) = model.violation.take() {
            return Some(violation);
        }
        if let Some(story) = &mut story {
            story.after(&state, false);
        }
    }
    if let Some(story) = &mut story {
        story.lines.push("… and from here on, with no more faults:".to_owned());
    }
    Liveness::default().check(model, &state, story).err()
}

/// Leaves out what the violation does not need: halves, then quarters, down to single steps.
fn shorten(model: &mut Model, adversity: &Adversity, start: &State, history: &mut Vec<Step>) {
    let mut size = history.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < history.len() {
            let mut shorter = history.clone();
            shorter.drain(from..history.len().min(from + size));
            if replay(model, adversity, start, &shorter, None).is_some() {
                *history = shorter;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
}
