//! Turns a mistake in the file into line, column, a sentence and, for a misspelt key, the nearest one that exists.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}; `shoal init` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It can be read, and is wrong.
    #[error("{}", describe(path, mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, at least one.
        mistakes: Vec<Mistake>,
    },
}

fn describe(path: &std::path::Path, mistakes: &[Mistake]) -> String {
    let lines: Vec<String> =
        mistakes.iter().map(|mistake| format!("{}: {mistake}", path.display())).collect();
    lines.join("\n")
}

/// A mistake that the TOML parser or a typed value found.
pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Mistake {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    let message = error.message().trim().replace('\n', "; ");
    let help = nearest_key(&message);
    let message = match message.split_once(", expected ") {
        Some((unknown, _)) if message.starts_with("unknown field") => unknown.replace("field", "key"),
        _ => message,
    };
    Mistake { line, column, message, help }
}

/// A mistake about the value of a key: points at the key, at the section where the key is left out, else at line 1.
pub(super) fn of_key(text: &str, section: &str, key: &str, message: String) -> Mistake {
    let mut current = String::new();
    let mut section_line = 1;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = name.trim().to_owned();
            if current == section {
                section_line = index + 1;
            }
        } else if current == section
            && trimmed.split('=').next().is_some_and(|name| name.trim().trim_matches('"') == key)
            && trimmed.contains('=')
        {
            let column = line.len() - line.trim_start().len() + 1;
            return Mistake { line: index + 1, column, message, help: None };
        }
    }
    Mistake { line: section_line, column: 1, message, help: None }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

/// Reads "unknown field `x`, expected one of `a`, `b`" and picks the nearest.
fn nearest_key(message: &str) -> Option<String> {
    let rest =
        message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (given, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let nearest = known.iter().min_by_key(|name| edit_distance(given, name))?;
    if edit_distance(given, nearest) <= given.chars().count().max(3) / 2 {
        Some(format!("did you mean `{nearest}`?"))
    } else {
        Some(format!("known here: {}", known.join(", ")))
    }
}

/// Levenshtein's distance, two rows at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let replace = above[column] + usize::from(from != *to);
            current.push(replace.min(above[column + 1] + 1).min(current[column] + 1));
        }
        above = current;
    }
    above[right.len()]
}
