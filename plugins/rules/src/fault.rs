//! Why an expression has no result for a row.

use tidegate_plugin::Absence;

/// Why there is no result: nothing for a result, else a reason and, for an absence, the variable. A
/// number, so that a column of them is looked through fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault(u32);

/// Says that a fault is no longer that of a value itself.
const OF_OPERATION: u32 = 0x80;
const REASON: u32 = 0x7f;

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(pub(crate) const $name: Fault = Fault($number);)*

        fn reason(self) -> Option<&'static str> {
            match Fault(self.0 & REASON) {
                $(Fault::$name => Some($text),)*
                _ => None,
            }
        }
    };
}

impl Fault {
    pub(crate) const NONE: Fault = Fault(0);

    reasons! {
        DIVISION_BY_ZERO = 6, "it divides by zero";
        OVERFLOW = 7, "an integer is beyond 64 bits";
        NOT_A_NUMBER = 8, "a number is not finite, or none";
        NO_OPERATION = 9, "an operation does not take such operands";
        NO_KEY = 10, "a list or an object lacks what is asked for";
        UNREADABLE = 11, "a text has half a surrogate pair";
        OTHER_TYPE = 12, "the result is of another type";
    }

    /// That a variable has no value.
    pub(crate) fn absent(variable: usize, absence: u8) -> Self {
        Fault((variable as u32) << 8 | u32::from(absence))
    }

    /// The fault of an operation on a value that has this one. A null equals null, but what comes of
    /// adding to it equals nothing.
    pub(crate) fn of_operation(self) -> Self {
        match self {
            Fault::NONE => self,
            fault => Fault(fault.0 | OF_OPERATION),
        }
    }

    pub(crate) fn is_none(self) -> bool {
        self == Fault::NONE
    }

    /// Whether it is that a variable has no value of its type.
    pub(crate) fn is_absence(self) -> bool {
        (Absence::Missing as u32..=Absence::Malformed as u32).contains(&(self.0 & REASON))
    }

    /// Whether a variable has a value that is not of its type, or null: something that equals no value
    /// of the type, and not nothing at all.
    pub(crate) fn is_other_value(self) -> bool {
        self.is_absence()
            && self.0 & OF_OPERATION == 0
            && self.0 & REASON != Absence::Missing as u32
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 & 0xff == Absence::Null as u32
    }

    /// For people.
    pub(crate) fn text(self, names: &[String]) -> String {
        if let Some(reason) = self.reason() {
            return reason.to_owned();
        }
        let absence = match self.0 & REASON {
            1 => Absence::Missing,
            2 => Absence::Null,
            3 => Absence::OtherType,
            4 => Absence::OutOfRange,
            _ => Absence::Malformed,
        };
        let name = names.get((self.0 >> 8) as usize).map_or("a field", |name| name);
        format!("`{name}` is {absence}")
    }
}
