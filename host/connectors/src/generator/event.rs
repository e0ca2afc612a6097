//! What an event is made of.

use super::{
    GeneratorConfig, GeneratorError, Weights,
    draw::{Draw, Draws},
    text,
};

/// Accounts a partition. Few enough for each to have a history soon.
const ACCOUNTS: u32 = 256;

/// How far before its copy an event may lie.
const DUPLICATE_DISTANCE_MAX: u64 = 64;

const CURRENCIES: [&str; 6] = ["EUR", "USD", "GBP", "JPY", "CHF", "SEK"];
const CATEGORIES: [&str; 8] =
    ["groceries", "travel", "electronics", "clothing", "restaurants", "fuel", "books", "health"];
const COUNTRIES: [&str; 8] = ["DE", "US", "GB", "JP", "CH", "SE", "FR", "NL"];
const MERCHANTS: [&str; 8] = [
    "Harbour Market",
    "Northern Lights Travel",
    "Circuit House",
    "Linen & Thread",
    "The Copper Pot",
    "Quick Stop 24",
    "Page Turner",
    "Green Cross",
];
const METHODS: [&str; 4] = ["card", "bank_transfer", "wallet", "invoice"];
const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64)",
    "Mozilla/5.0 (Macintosh; Intel)",
    "Mozilla/5.0 (Windows NT 10.0)",
    "Mozilla/5.0 (Linux; Android 16)",
];
const TAGS: [&str; 6] = ["web", "mobile", "returning", "gift", "express", "promotion"];
const ACTIONS: [&str; 6] = ["page_view", "click", "search", "add_to_cart", "sign_in", "sign_out"];
const PAGES: [&str; 6] = ["/", "/search", "/products/4711", "/cart", "/checkout", "/help"];
/// Name, unit and usual value, in hundredths.
const METRICS: [(&str, &str, i64); 6] = [
    ("cpu_usage", "percent", 3_500),
    ("memory_usage", "percent", 6_000),
    ("request_latency", "milliseconds", 12_000),
    ("queue_depth", "items", 4_000),
    ("disk_io", "megabytes_per_second", 20_000),
    ("temperature", "celsius", -500),
];
const SEVERITIES: [&str; 4] = ["debug", "info", "warning", "error"];
const COMPONENTS: [&str; 6] =
    ["scheduler", "ingress", "database", "cache", "billing", "notifications"];
const MESSAGES: [&str; 5] = [
    "configuration reloaded",
    "connection pool resized",
    "health check passed",
    "retrying after a timeout",
    "certificate renewed",
];

/// Makes the events of a partition.
pub struct EventGenerator {
    config: GeneratorConfig,
    partition: u32,
    draws: Draws,
}

enum Kind {
    UserAction,
    Transaction,
    Metric,
    SystemEvent,
}

/// What is wrong with an event, or unusual.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Character {
    Ordinary,
    Invalid(Fault),
    Duplicate,
    Late,
    Anomalous,
}

/// How an event breaks a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It ends half way.
    NotJson,
    /// It has no `timestamp`.
    NoTime,
    /// Its `timestamp` is no time.
    BadTime,
    /// Its measure (`amount`, `value`, `session_duration`; `severity`) is of another type.
    WrongType,
    /// Its measure is out of range: negative, or null where there may be negative ones.
    OutOfRange,
    /// A value is none of those that there are: `currency`, `action`, `unit`, `component`.
    Unknown,
}

const FAULTS: [Fault; 6] = [
    Fault::NotJson,
    Fault::NoTime,
    Fault::BadTime,
    Fault::WrongType,
    Fault::OutOfRange,
    Fault::Unknown,
];

impl EventGenerator {
    /// That of a partition.
    pub fn new(config: &GeneratorConfig, partition: u32) -> Result<Self, GeneratorError> {
        config.check()?;
        let draws = Draws::new(config.seed, partition);
        Ok(EventGenerator { config: config.clone(), partition, draws })
    }

    /// Appends the JSON of an event, without a line feed.
    pub fn write(&mut self, index: u64, out: &mut Vec<u8>) {
        let mut index = index;
        let mut draw = self.draws.at(index);
        let mut character = self.character(&mut draw);
        // The copy of a copy is one of the original.
        while character == Character::Duplicate && index > 0 {
            let farthest = index.min(DUPLICATE_DISTANCE_MAX) as u32;
            index -= 1 + u64::from(draw.below(farthest));
            draw = self.draws.at(index);
            character = self.character(&mut draw);
        }
        let start = out.len();
        self.write_event(index, character, &mut draw, out);
        if character == Character::Invalid(Fault::NotJson) {
            let length = out.len() - start;
            out.truncate(start + length / 2);
        }
    }

    fn character(&self, draw: &mut Draw) -> Character {
        let config = &self.config;
        let fault = FAULTS[draw.below(FAULTS.len() as u32) as usize];
        let mut at = draw.unit();
        for (share, character) in [
            (config.invalid, Character::Invalid(fault)),
            (config.duplicate, Character::Duplicate),
            (config.late, Character::Late),
            (config.anomalous, Character::Anomalous),
        ] {
            if at < share {
                return character;
            }
            at -= share;
        }
        Character::Ordinary
    }

    fn write_event(&self, index: u64, character: Character, draw: &mut Draw, out: &mut Vec<u8>) {
        let kind = self.kind(draw);
        let partitions = u64::from(self.config.partitions);
        let account = u64::from(draw.below(ACCOUNTS)) * partitions + u64::from(self.partition);
        let ordinal = index.wrapping_mul(partitions).wrapping_add(u64::from(self.partition));
        let mut time = (ordinal as i64)
            .saturating_mul(self.config.step_microseconds)
            .saturating_add(self.config.start.0);
        if character == Character::Late {
            time -= 1_000_000 * i64::from(3_600 + draw.below(82_800));
        }
        let mut event = Event { out, draw, account, character };
        match kind {
            Kind::UserAction => event.user_action(time),
            Kind::Transaction => event.transaction(time),
            Kind::Metric => event.metric(time),
            Kind::SystemEvent => event.system_event(time),
        }
        event.out.push(b'}');
    }

    fn kind(&self, draw: &mut Draw) -> Kind {
        let Weights { user_action, transaction, metric, .. } = self.config.weights;
        let mut at = (u64::from(draw.word()) * self.config.weights.total()) >> 32;
        for (weight, kind) in [
            (user_action, Kind::UserAction),
            (transaction, Kind::Transaction),
            (metric, Kind::Metric),
        ] {
            match at.checked_sub(u64::from(weight)) {
                None => return kind,
                Some(rest) => at = rest,
            }
        }
        Kind::SystemEvent
    }
}

/// An event being written.
struct Event<'a> {
    out: &'a mut Vec<u8>,
    draw: &'a mut Draw,
    account: u64,
    character: Character,
}

impl Event<'_> {
    fn head(&mut self, kind: &str, time: i64) {
        self.raw("{\"event_id\":\"");
        self.hex_words(4);
        self.raw("\",\"event_type\":\"");
        self.raw(kind);
        match self.character {
            Character::Invalid(Fault::NoTime) => self.raw("\""),
            Character::Invalid(Fault::BadTime) => self.raw("\",\"timestamp\":\"yesterday\""),
            _ => {
                self.raw("\",\"timestamp\":\"");
                text::time(self.out, time);
                self.raw("\"");
            }
        }
        self.raw(",\"account_id\":\"acct-");
        text::padded(self.out, self.account, 6);
        self.raw("\"");
    }

    fn transaction(&mut self, time: i64) {
        self.head("transaction", time);
        self.user();
        // What is usual depends on the account: from coffee to furniture.
        let usual = [400, 900, 2_500, 4_000, 7_500, 12_000, 30_000, 60_000, 90_000, 160_000];
        let usual = usual[self.account as usize % usual.len()];
        let amount = self.around(usual, 40);
        self.measure("amount", amount);
        self.choice("currency", &CURRENCIES);
        let merchant = self.draw.below(1_000);
        self.raw(",\"merchant\":{\"id\":\"m-");
        text::padded(self.out, u64::from(merchant), 4);
        let of = |list: &[&'static str; 8], i: u32| list[i as usize % 8];
        self.string("\",\"name\":\"", of(&MERCHANTS, merchant));
        self.string("\",\"category\":\"", of(&CATEGORIES, merchant));
        self.string("\",\"country\":\"", of(&COUNTRIES, merchant / 8));
        self.raw("\"}");
        let method = self.draw.of(&METHODS);
        self.string(",\"payment_method\":\"", method);
        self.raw("\",\"card_last4\":\"");
        text::padded(self.out, u64::from(self.draw.below(10_000)), 4);
        self.raw("\",\"ip\":\"10");
        for _ in 0..3 {
            self.raw(".");
            text::padded(self.out, u64::from(self.draw.below(256)), 1);
        }
        let browser = self.draw.of(&BROWSERS);
        self.string("\",\"user_agent\":\"", browser);
        let (first, second) = (self.draw.of(&TAGS), self.draw.of(&TAGS));
        self.string("\",\"tags\":[\"", first);
        self.string("\",\"", second);
        self.raw("\"]");
    }

    fn user_action(&mut self, time: i64) {
        self.head("user_action", time);
        self.user();
        self.choice("action", &ACTIONS);
        let page = self.draw.of(&PAGES);
        self.string(",\"page\":\"", page);
        self.raw("\"");
        // Seconds: a glance, a visit, an afternoon.
        let usual = [2_000, 30_000, 120_000][self.account as usize % 3];
        let duration = self.around(usual, 60);
        self.measure("session_duration", duration);
        let browser = self.draw.of(&BROWSERS);
        self.string(",\"user_agent\":\"", browser);
        self.raw("\"");
    }

    fn metric(&mut self, time: i64) {
        self.head("metric", time);
        let (name, unit, usual) = self.draw.of(&METRICS);
        self.string(",\"name\":\"", name);
        self.raw("\"");
        let value = self.around(usual, 20);
        // Negative ones are values like any other.
        match self.character {
            Character::Invalid(Fault::OutOfRange) => self.raw(",\"value\":null"),
            _ => self.measure("value", value),
        }
        match self.character {
            Character::Invalid(Fault::Unknown) => self.raw(",\"unit\":\"cubits\""),
            _ => {
                self.string(",\"unit\":\"", unit);
                self.raw("\"");
            }
        }
        self.raw(",\"host\":\"host-");
        text::padded(self.out, self.account, 6);
        self.raw("\"");
    }

    fn system_event(&mut self, time: i64) {
        self.head("system_event", time);
        match self.character {
            Character::Invalid(Fault::WrongType) => self.raw(",\"severity\":3"),
            Character::Invalid(Fault::OutOfRange) => self.raw(",\"severity\":\"-1\""),
            Character::Anomalous => self.raw(",\"severity\":\"critical\""),
            _ => {
                let severity = self.draw.of(&SEVERITIES);
                self.string(",\"severity\":\"", severity);
                self.raw("\"");
            }
        }
        self.choice("component", &COMPONENTS);
        let message = self.draw.of(&MESSAGES);
        self.string(",\"message\":\"", message);
        self.raw("\"");
    }

    fn user(&mut self) {
        self.raw(",\"user_id\":\"user-");
        let user = self.account * 4 + u64::from(self.draw.below(4));
        text::padded(self.out, user, 7);
        self.raw("\",\"session_id\":\"");
        self.hex_words(2);
        self.raw("\"");
    }

    /// A value within a third of what is usual, or, in an anomalous event, `far` times as much.
    fn around(&mut self, usual: i64, far: i64) -> i64 {
        let value = usual + (usual as f64 * (self.draw.unit() - 0.5) * 2.0 / 3.0) as i64;
        if self.character == Character::Anomalous { value * far } else { value }
    }

    /// The number that an event is about, in hundredths.
    fn measure(&mut self, name: &str, value: i64) {
        self.string(",\"", name);
        self.raw("\":");
        match self.character {
            Character::Invalid(Fault::WrongType) => self.raw("\"a lot\""),
            Character::Invalid(Fault::OutOfRange) => text::hundredths(self.out, -value - 1),
            _ => text::hundredths(self.out, value),
        }
    }

    /// A value out of a list, or, where the fault says so, one that is not in it.
    fn choice(&mut self, name: &str, choices: &[&'static str]) {
        let chosen = self.draw.of(choices);
        let unknown = self.character == Character::Invalid(Fault::Unknown);
        self.string(",\"", name);
        self.string("\":\"", if unknown { "unheard_of" } else { chosen });
        self.raw("\"");
    }

    fn hex_words(&mut self, words: usize) {
        for _ in 0..words {
            text::hex(self.out, self.draw.word());
        }
    }

    fn string(&mut self, before: &str, value: &str) {
        self.raw(before);
        self.raw(value);
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}
