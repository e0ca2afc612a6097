//! What a check finds, all of it at once: a code, a place in a file, and what to do about it.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works, and may not be what was meant.
    Warning,
    /// It can't work.
    Error,
}

/// A stretch of a file. Lines and columns count from 1, in characters, as editors do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// Where it starts, in bytes.
    pub offset: usize,
    /// How long it is, in bytes.
    pub length: usize,
}

/// A file that findings point into.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As the operator named it.
    pub path: PathBuf,
    /// Its text as it was read.
    pub text: Arc<str>,
}

/// Something that a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// A stable code, `unknown-key`: what scripts match on.
    pub code: &'static str,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The same place as a JSON Pointer: `/stages/0/when`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// For rendering: the text around it.
    #[serde(skip)]
    pub(crate) around: Option<(SourceFile, Place)>,
}

impl Finding {
    /// An error at a place.
    pub fn error(
        code: &'static str,
        file: &SourceFile,
        place: Place,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Finding {
            level: Level::Error,
            code,
            file: file.path.display().to_string(),
            line: place.line,
            column: place.column,
            pointer: pointer.into(),
            message: message.into(),
            suggestion: None,
            around: Some((file.clone(), place)),
        }
    }

    /// The same as a warning.
    pub fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }

    /// The same with what to do about it.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl fmt::Display for Finding {
    /// One line, in the form that editors and CI systems parse.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { file, line, column, message, code, .. } = self;
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{file}:{line}:{column}: {level}[{code}]: {message}")?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Whether any of them is an error.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Error)
}

/// Both, or all that is wrong with either.
pub(crate) fn both<A, B>(
    a: Result<A, Vec<Finding>>,
    b: Result<B, Vec<Finding>>,
) -> Result<(A, B), Vec<Finding>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(mut a), Err(b)) => {
            a.extend(b);
            Err(a)
        }
        (Err(found), Ok(_)) | (Ok(_), Err(found)) => Err(found),
    }
}

/// Findings for people: each with the lines it is about, in colour on a terminal.
pub fn render(findings: &[Finding], colour: bool) -> String {
    let theme = match colour {
        true => miette::GraphicalTheme::unicode(),
        false => miette::GraphicalTheme::unicode_nocolor(),
    };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(100);
    let mut text = String::new();
    for finding in findings {
        let diagnostic = Diagnostic::of(finding);
        // Writing into a `String` can't fail; the line form is there in case that changes.
        if handler.render_report(&mut text, &diagnostic).is_err() {
            text.push_str(&finding.to_string());
        }
        text.push('\n');
    }
    text
}

/// A finding in the terms of the library that draws it.
#[derive(Debug)]
struct Diagnostic<'a> {
    finding: &'a Finding,
    source: Option<miette::NamedSource<Arc<str>>>,
}

impl<'a> Diagnostic<'a> {
    fn of(finding: &'a Finding) -> Self {
        let source = finding.around.as_ref().map(|(file, _)| {
            miette::NamedSource::new(file.path.display().to_string(), Arc::clone(&file.text))
        });
        Diagnostic { finding, source }
    }
}

impl fmt::Display for Diagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Diagnostic<'_> {}

impl miette::Diagnostic for Diagnostic<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.level {
            Level::Warning => miette::Severity::Warning,
            Level::Error => miette::Severity::Error,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.finding.suggestion.as_ref().map(|text| Box::new(text) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let (file, place) = self.finding.around.as_ref()?;
        let start = place.offset.min(file.text.len());
        let length = place.length.min(file.text.len() - start);
        let label = miette::LabeledSpan::new(Some("here".to_owned()), start, length);
        Some(Box::new(std::iter::once(label)))
    }
}
