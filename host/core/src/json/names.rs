//! The names in an object while its text is checked: each may be there once. Readers disagree on
//! which of two members of one name counts, so that what was checked would not be what is read.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};
use smallvec::SmallVec;

/// Names of one object, in the order in which they came.
#[derive(Default)]
pub(super) struct Names<'t>(SmallVec<[Cow<'t, str>; 8]>);

impl<'t> Names<'t> {
    /// One more.
    pub(super) fn push(&mut self, name: Cow<'t, str>) {
        self.0.push(name);
    }

    /// Checks that no name is there twice.
    pub(super) fn check<E: de::Error>(mut self) -> Result<(), E> {
        self.0.sort_unstable();
        match self.0.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(E::custom(format_args!(
                "an object has the member `{}` twice",
                pair[0]
            ))),
            None => Ok(()),
        }
    }
}

/// Reads a name.
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        super::check_text(name)?;
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        super::check_text(name)?;
        Ok(Cow::Owned(name.to_owned()))
    }
}
