//! What a function says of a row, and the loop over rows.

use std::borrow::Cow;

use super::{NoRules, Rejected, Rules, Writes};
use crate::{Batch, Reply, Verdict};

/// What a plugin's function returns: a struct that is written, a `Vec` of such structs, or a
/// `Result` of one of these and a refusal.
#[diagnostic::on_unimplemented(
    message = "a plugin can't return `{Self}`",
    label = "a plugin returns a struct with `#[derive(Writes)]`, or a `Result` of one and a \
             `Reject`"
)]
pub trait Outcome {
    /// The rows that go on.
    type Children: Children;
    /// The rules that a row may break.
    type Rules: Rules;

    /// What is written, or why the row does not go on.
    fn settle(self) -> Result<Self::Children, Refused<Self::Rules>>;
}

impl<C: Children> Outcome for C {
    type Children = C;
    type Rules = NoRules;

    fn settle(self) -> Result<C, Refused<NoRules>> {
        Ok(self)
    }
}

impl<C: Children, R: Refusal> Outcome for Result<C, R> {
    type Children = C;
    type Rules = R::Rules;

    #[inline]
    fn settle(self) -> Result<C, Refused<R::Rules>> {
        self.map_err(R::refused)
    }
}

/// The rows that go on in a row's place: itself, with what is written, or as many copies as there
/// are in a `Vec`.
pub trait Children {
    /// What is written to each.
    type Writes: Writes;
    /// Whether it may be another number than one: the capability `fan-out`.
    const FAN_OUT: bool;

    /// Each, in order.
    fn each(self) -> impl Iterator<Item = Self::Writes>;
}

impl<W: Writes> Children for W {
    type Writes = W;
    const FAN_OUT: bool = false;

    #[inline]
    fn each(self) -> impl Iterator<Item = W> {
        std::iter::once(self)
    }
}

impl<W: Writes> Children for Vec<W> {
    type Writes = W;
    const FAN_OUT: bool = true;

    fn each(self) -> impl Iterator<Item = W> {
        self.into_iter()
    }
}

/// What an outcome writes.
pub(crate) type WritesOf<O> = <<O as Outcome>::Children as Children>::Writes;

/// A row does not go on: [`Reject`], [`Dropped`], or [`Refused`], which is either.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how a row is refused",
    label = "the error of a plugin is a `Reject`, a `Dropped` or a `Refused`"
)]
pub trait Refusal {
    /// The rules that it may name.
    type Rules: Rules;

    /// Which it is.
    fn refused(self) -> Refused<Self::Rules>;
}

/// The row is rejected: it goes to the dead letters, which name the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject<R = Rejected> {
    rule: R,
    detail: Cow<'static, str>,
}

/// The row is dropped: it ends here, and is counted under the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped<R = Rejected> {
    rule: R,
    detail: Cow<'static, str>,
}

/// The row is rejected or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused<R> {
    /// Rejected.
    Reject(Reject<R>),
    /// Dropped.
    Drop(Dropped<R>),
}

impl Reject {
    /// Rejects by the rule `rejected`, for a plugin without rules of its own. The detail says what
    /// is wrong, and not what the value was.
    pub fn because(detail: impl Into<Cow<'static, str>>) -> Self {
        Reject { rule: Rejected, detail: detail.into() }
    }
}

macro_rules! refusal {
    ($type:ident, $variant:ident) => {
        impl<R: Rules> $type<R> {
            /// By a rule.
            pub fn by(rule: R) -> Self {
                $type { rule, detail: Cow::default() }
            }

            /// With a word for people, which says what is wrong, and not what the value was.
            pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
                $type { detail: detail.into(), ..self }
            }
        }

        impl<R: Rules> From<R> for $type<R> {
            fn from(rule: R) -> Self {
                $type::by(rule)
            }
        }

        impl<R: Rules> Refusal for $type<R> {
            type Rules = R;

            fn refused(self) -> Refused<R> {
                Refused::$variant(self)
            }
        }

        impl<R> From<$type<R>> for Refused<R> {
            fn from(refusal: $type<R>) -> Self {
                Refused::$variant(refusal)
            }
        }
    };
}

refusal!(Reject, Reject);
refusal!(Dropped, Drop);

impl<R: Rules> Refusal for Refused<R> {
    type Rules = R;

    fn refused(self) -> Refused<R> {
        self
    }
}

/// What a plugin finds about the row at hand besides its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<R> {
    findings: Vec<(R, Cow<'static, str>)>,
}

impl<R: Rules> Found<R> {
    /// Nothing yet.
    pub fn new() -> Self {
        Found { findings: Vec::new() }
    }

    /// The row breaks a rule, and goes on.
    pub fn add(&mut self, rule: R) {
        self.findings.push((rule, Cow::default()));
    }

    /// The row breaks a rule, and goes on; with a word for people about it.
    pub fn add_with(&mut self, rule: R, detail: impl Into<Cow<'static, str>>) {
        self.findings.push((rule, detail.into()));
    }

    /// The rules that were found, in order.
    pub fn rules(&self) -> impl Iterator<Item = R> {
        self.findings.iter().map(|(rule, _)| *rule)
    }
}

/// Calls a function for each row of a batch, and makes one reply of its outcomes.
///
/// # Panics
/// When nothing at all goes on in a row's place, and no finding says why: the host takes that for
/// a plugin that loses rows.
pub fn run<O: Outcome>(
    batch: &Batch<'_>,
    mut function: impl FnMut(usize, &mut Found<O::Rules>) -> O,
) -> Reply {
    let mut reply = Reply::default();
    let mut columns = WritesOf::<O>::columns(batch.rows);
    let mut found = Found::new();
    for row in batch.rows() {
        match function(row, &mut found).settle() {
            Ok(children) if O::Children::FAN_OUT => {
                let before = reply.parents.len();
                for written in children.each() {
                    written.push(&mut columns);
                    reply.parents.push(row as u32);
                }
                if reply.parents.len() == before {
                    assert!(
                        !found.findings.is_empty(),
                        "no row goes on in the row's place, and no rule says why: drop it by one"
                    );
                    reply.judge(batch.rows, row, Verdict::Drop);
                }
            }
            Ok(children) => children.each().for_each(|written| written.push(&mut columns)),
            Err(refused) => {
                if !O::Children::FAN_OUT {
                    WritesOf::<O>::leave(&mut columns);
                }
                refuse(refused, batch.rows, row, &mut reply);
            }
        }
        // After the refusal: the first finding of a refused row is what refuses it.
        for (rule, detail) in found.findings.drain(..) {
            find(rule, &detail, row, &mut reply);
        }
    }
    if O::Children::FAN_OUT && reply.parents.is_empty() {
        // No parents mean one row for each, so there is one for each, which nobody looks at.
        (0..batch.rows).for_each(|_| WritesOf::<O>::leave(&mut columns));
    }
    reply.columns = WritesOf::<O>::finish(columns);
    reply
}

#[cold]
fn refuse<R: Rules>(refused: Refused<R>, rows: usize, row: usize, reply: &mut Reply) {
    let (verdict, rule, detail) = match refused {
        Refused::Reject(Reject { rule, detail }) => (Verdict::Reject, rule, detail),
        Refused::Drop(Dropped { rule, detail }) => (Verdict::Drop, rule, detail),
    };
    reply.judge(rows, row, verdict);
    find(rule, &detail, row, reply);
}

fn find<R: Rules>(rule: R, detail: &str, row: usize, reply: &mut Reply) {
    match detail.is_empty() {
        true => reply.findings.add(row, rule.index()),
        false => reply.findings.add_with(row, rule.index(), detail),
    }
}
