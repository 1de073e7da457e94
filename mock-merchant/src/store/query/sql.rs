//! A statement in the making.

use rusqlite::types::Value;

/// Text of fixed fragments, and the values of its question marks in their order.
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Begins with a fragment.
    pub fn new(fragment: &'static str) -> Self {
        Self { text: fragment.to_owned(), values: Vec::new() }
    }

    /// Adds a fragment.
    pub fn add(&mut self, fragment: &'static str) {
        self.text.push(' ');
        self.text.push_str(fragment);
    }

    /// Adds a fragment with one question mark.
    pub fn bind(&mut self, fragment: &'static str, value: impl Into<Value>) {
        self.add(fragment);
        self.values.push(value.into());
    }

    /// [`Sql::bind`] if there is a value.
    pub fn bind_if(&mut self, fragment: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.bind(fragment, value);
        }
    }

    /// The statement and its values.
    pub fn finish(self) -> (String, rusqlite::ParamsFromIter<Vec<Value>>) {
        (self.text, rusqlite::params_from_iter(self.values))
    }
}
