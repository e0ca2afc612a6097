//! The pipeline as a Mermaid flowchart: thick arrows are the way that records go, dotted ones say
//! which fields a stage or a sink has from whom.

use std::fmt::Write as _;

use tidegate_core::Origin;

use super::{ConditionNode, Lineage, ReadNode, behind, push_new};
use crate::config::Zone;

/// An arrow with more names than this can't be read. All of them are in the JSON.
const NAMES_MAX: usize = 8;

impl Lineage {
    /// The source of a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        self.nodes(&mut text);
        self.flow(&mut text);
        for Arrow { from, to, names } in self.arrows() {
            let _ = writeln!(text, "  {from} -.->|\"{}\"| {to}", shortened(&names));
        }
        text
    }

    fn nodes(&self, text: &mut String) {
        let _ = writeln!(text, "  source([\"{}\"])", escaped(&self.source.name));
        if let Some(filter) = &self.filter {
            let _ = writeln!(text, "  filter{{{{\"filter{}\"}}}}", asks(filter));
        }
        for (i, table) in self.tables.iter().enumerate() {
            let _ = writeln!(text, "  table{i}[(\"{}\")]", escaped(&table.name));
        }
        for (i, stage) in self.stages.iter().enumerate() {
            let (name, plugin) = (escaped(&stage.name), escaped(&stage.plugin));
            let when = stage.when.as_ref().map(asks).unwrap_or_default();
            let _ = writeln!(text, "  stage{i}[\"{name}<br/>{plugin}{when}\"]");
        }
        for (i, sink) in self.sinks.iter().enumerate() {
            let when = sink.when.as_ref().map(asks).unwrap_or_default();
            let directory = match sink.directory.as_str() {
                "" => String::new(),
                directory => format!("<br/>{}", escaped(directory)),
            };
            let name = escaped(&sink.name);
            let _ = writeln!(text, "  sink{i}[/\"{name}{when}{directory}\"/]");
        }
    }

    /// The way that records go.
    fn flow(&self, text: &mut String) {
        let filter = self.filter.iter().map(|_| "filter".to_owned());
        let stages = (0..self.stages.len()).map(|i| format!("stage{i}"));
        let mut last = "source".to_owned();
        let mut raw = last.clone();
        for next in filter.chain(stages) {
            let _ = writeln!(text, "  {last} ==> {next}");
            if next == "filter" {
                raw.clone_from(&next);
            }
            last = next;
        }
        for (i, sink) in self.sinks.iter().enumerate() {
            let from = match sink.zone {
                Zone::Processed => &last,
                Zone::Raw => &raw,
            };
            let _ = writeln!(text, "  {from} ==> sink{i}");
        }
    }

    fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        if let Some(filter) = &self.filter {
            self.reads(&mut arrows, "filter", &filter.reads, 0);
        }
        for (i, stage) in self.stages.iter().enumerate() {
            let when = stage.when.iter().flat_map(|it| &it.reads);
            self.reads(&mut arrows, &format!("stage{i}"), when.chain(&stage.reads), i);
        }
        for (i, sink) in self.sinks.iter().enumerate() {
            let when = sink.when.iter().flat_map(|it| &it.reads);
            let (to, position) = (format!("sink{i}"), behind(sink.zone, self.stages.len()));
            self.reads(&mut arrows, &to, when.chain(sink.reads()), position);
        }
        arrows
    }

    /// The arrows to one node: from the stages before it that write what it reads, else from the
    /// source.
    fn reads<'r>(
        &self,
        arrows: &mut Vec<Arrow>,
        to: &str,
        reads: impl IntoIterator<Item = &'r ReadNode>,
        position: usize,
    ) {
        for read in reads {
            let paths = match &read.field {
                Origin::Field(path) => std::slice::from_ref(path),
                Origin::Host(_) => continue,
                Origin::Lookup(lookup) => {
                    if let Some(i) = self.tables.iter().position(|it| it.name == lookup.table) {
                        point(arrows, format!("table{i}"), to, &lookup.column);
                    }
                    &lookup.keys
                }
            };
            for path in paths {
                let mut is_written = false;
                for (i, stage) in self.stages.iter().take(position).enumerate() {
                    let touches =
                        |other: &tidegate_core::Path| path.contains(other) || other.contains(path);
                    if stage.writes.iter().any(|it| touches(&it.field)) {
                        is_written = true;
                        point(arrows, format!("stage{i}"), to, &path.to_string());
                    }
                }
                if !is_written {
                    point(arrows, "source".to_owned(), to, &path.to_string());
                }
            }
        }
    }
}

/// Which fields one node has from another.
struct Arrow {
    from: String,
    to: String,
    names: Vec<String>,
}

fn point(arrows: &mut Vec<Arrow>, from: String, to: &str, name: &str) {
    let name = escaped(name);
    match arrows.iter_mut().find(|it| it.from == from && it.to == to) {
        Some(known) => push_new(&mut known.names, name),
        None => arrows.push(Arrow { from, to: to.to_owned(), names: vec![name] }),
    }
}

fn shortened(names: &[String]) -> String {
    match names.len() {
        0..=NAMES_MAX => names.join("<br/>"),
        all => format!("{}<br/>and {} more", names[..NAMES_MAX].join("<br/>"), all - NAMES_MAX),
    }
}

/// What a condition asks for, on a line of its own.
fn asks(condition: &ConditionNode) -> String {
    let mut names = Vec::new();
    for read in &condition.reads {
        push_new(&mut names, escaped(&read.field.to_string()));
    }
    format!("<br/>by {}", names.join(", "))
}

/// Mermaid's labels stand in quotes and may hold HTML; `#…;` is its own way to write a character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | '`' | '\\' | ';' => {
                let _ = write!(escaped, "#{};", c as u32);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
