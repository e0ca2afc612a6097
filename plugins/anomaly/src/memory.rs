//! What is remembered of a key: a trace for each detector, and the cool-down.

use tidegate_plugin::State;

use crate::method::{Method, Trace};

/// The state of a key.
///
/// It says itself what is in it, so that a config with other detectors finds what it can use: a
/// detector that was there before goes on, one that is new warms up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) cool_down: CoolDown,
    /// The first trace stands here, so that a memory of one, of which a batch may bring one a row,
    /// takes no allocation.
    first: Option<Trace>,
    others: Vec<Trace>,
    /// Whether each trace belongs to the method at its place. Not kept.
    is_fitted: bool,
}

/// How many numbers of the key are still to pass before one that is no more unusual than the last
/// is told again.
#[derive(Clone, Copy, Debug, Default, PartialEq, State)]
pub(crate) struct CoolDown {
    left: u32,
    score: f64,
}

impl Memory {
    /// How many bytes a state under these methods takes at most.
    pub(crate) fn bytes_max(methods: &[Method]) -> usize {
        const COOL_DOWN: usize = 12;
        const COUNT: usize = 1;
        COOL_DOWN + COUNT + methods.iter().map(Method::bytes_max).sum::<usize>()
    }

    /// Makes it hold one trace for each method, in their order.
    #[inline]
    pub(crate) fn fit(&mut self, methods: impl ExactSizeIterator<Item = Method> + Clone) {
        if self.is_fitted {
            return;
        }
        self.is_fitted = true;
        let is_as_before = self.len() == methods.len()
            && methods.clone().zip(self.iter()).all(|(method, trace)| method.made(trace));
        if is_as_before {
            return;
        }
        let mut known: Vec<Trace> = self.first.take().into_iter().collect();
        known.append(&mut self.others);
        for method in methods {
            let trace = match known.iter().position(|trace| method.made(trace)) {
                Some(at) => known.remove(at),
                None => method.trace(),
            };
            self.push(trace);
        }
    }

    /// The trace of each method that it was fitted to.
    #[inline]
    pub(crate) fn traces(&mut self) -> impl Iterator<Item = &mut Trace> {
        self.first.iter_mut().chain(&mut self.others)
    }

    fn iter(&self) -> impl Iterator<Item = &Trace> {
        self.first.iter().chain(&self.others)
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    fn push(&mut self, trace: Trace) {
        match self.first {
            None => self.first = Some(trace),
            Some(_) => self.others.push(trace),
        }
    }
}

impl CoolDown {
    /// Takes note of a number that deviates or doesn't: whether it is to be told.
    pub(crate) fn pass(&mut self, deviates: bool, score: f64, cool_down: u32) -> bool {
        let is_cooling = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let is_told = deviates && (!is_cooling || score > self.score);
        if is_told && cool_down > 0 {
            *self = CoolDown { left: cool_down, score };
        }
        is_told
    }
}

impl State for Memory {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.cool_down.encode(bytes);
        (self.len() as u8).encode(bytes); // there are at most eight detectors
        self.iter().for_each(|trace| trace.encode(bytes));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut memory = Memory { cool_down: State::decode(bytes)?, ..Memory::default() };
        for _ in 0..u8::decode(bytes)? {
            memory.push(Trace::decode(bytes)?);
        }
        Some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdaptiveRange, Detector, Mean, Rate, Season, Seasonal};

    #[test]
    fn under_other_detectors_a_memory_keeps_what_they_can_use() {
        let methods =
            |detectors: &[Detector]| -> Vec<Method> { detectors.iter().map(Method::of).collect() };
        let mean = Detector::Mean(Mean::default());
        let seasonal = |by| Detector::Seasonal(Seasonal { by, ..Seasonal::default() });
        let range = Detector::AdaptiveRange(AdaptiveRange::default());
        let before = methods(&[mean.clone(), seasonal(Season::Weekday), range.clone()]);
        let mut memory = Memory::default();
        memory.fit(before.iter().copied());
        for number in 0..40 {
            for (method, trace) in before.iter().zip(memory.traces()) {
                method.meet(trace, number.into(), None, 30);
            }
        }
        let known: Vec<Trace> = memory.iter().cloned().collect();
        let mut bytes = Vec::new();
        memory.encode(&mut bytes);

        let rate = Detector::Rate(Rate::default());
        let steeper = Detector::Mean(Mean { half_life: 5.0, ..Mean::default() });
        let after = methods(&[range, seasonal(Season::Hour), steeper, rate, mean]);
        let mut memory = Memory::decode(&mut &bytes[..]).unwrap();
        memory.fit(after.iter().copied());
        let traces: Vec<&Trace> = memory.iter().collect();
        assert_eq!((traces[0], traces[2]), (&known[2], &known[0]));
        for new in [1, 3, 4] {
            assert_eq!(*traces[new], after[new].trace(), "{new} begins anew");
        }
    }

    #[test]
    fn while_cooling_down_only_a_greater_score_is_told() {
        let mut cool_down = CoolDown::default();
        let numbers = [(true, 5.0), (true, 5.0), (false, 0.0), (true, 6.0), (true, 5.0)];
        let told = numbers.map(|(deviates, score)| cool_down.pass(deviates, score, 3));
        assert_eq!(told, [true, false, false, true, false]);
        let rest = [(false, 0.0), (true, 6.0), (true, 2.0)];
        let told = rest.map(|(deviates, score)| cool_down.pass(deviates, score, 3));
        assert_eq!(told, [false, false, true], "three numbers after the 6 it is over");
    }

    #[test]
    fn without_a_cool_down_every_number_that_deviates_is_told() {
        let mut cool_down = CoolDown::default();
        assert!((0..5).all(|_| cool_down.pass(true, 1.0, 0)));
        assert_eq!(cool_down, CoolDown::default());
    }
}
