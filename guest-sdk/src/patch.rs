//! What an action changed, written into the text of the context.
//!
//! The author's type sees a part of the context, and reads numbers as its own types do. So its
//! value before and after the action are compared, and only what differs is written: everything
//! else stays as it was, byte for byte.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, MapAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

/// A context as an action's type sees it, before the action.
pub(crate) struct Before {
    text: String,
    /// The fields of the type, if it is a struct.
    fields: &'static [&'static str],
}

impl Before {
    /// Notes what there is.
    pub(crate) fn of<C: DeserializeOwned + Serialize>(context: &C) -> serde_json::Result<Self> {
        Ok(Self {
            text: serde_json::to_string(context)?,
            fields: fields_of::<C>(),
        })
    }

    /// The text of the context after the action, without the members that were `removed`.
    pub(crate) fn patch<C: Serialize>(
        &self,
        original: &str,
        context: &C,
        removed: &[String],
    ) -> serde_json::Result<String> {
        let after = serde_json::to_string(context)?;
        if after == self.text && removed.is_empty() {
            return Ok(original.to_owned());
        }
        let (Some(original), Some(before), Some(now)) = (
            Members::of(original),
            Members::of(&self.text),
            Members::of(&after),
        ) else {
            return Ok(after);
        };
        let is_field = |name: &str| self.fields.contains(&name);
        let is_removed = |name: &str| removed.iter().any(|other| other == name);
        Ok(patched_object(
            &original, &before, &now, is_field, is_removed,
        ))
    }
}

fn patched(original: &str, before: &str, after: &str) -> String {
    if before == after {
        return original.to_owned();
    }
    if let (Some(original), Some(before), Some(after)) = (
        Members::of(original),
        Members::of(before),
        Members::of(after),
    ) {
        return patched_object(&original, &before, &after, |_| false, |_| false);
    }
    if let (Some(original), Some(before), Some(after)) =
        (items(original), items(before), items(after))
        && original.len() == before.len()
    {
        return patched_list(&original, &before, &after);
    }
    after.to_owned()
}

/// Members that no type knows stay; a field that is not written any more is `null`, any other
/// member that is not written any more is gone.
fn patched_object(
    original: &Members<'_>,
    before: &Members<'_>,
    after: &Members<'_>,
    is_field: impl Fn(&str) -> bool,
    is_removed: impl Fn(&str) -> bool,
) -> String {
    let (was, is) = (before.by_name(), after.by_name());
    let mut object = Object::new();
    for (name, value) in &original.0 {
        if is_removed(name) {
            continue;
        }
        match (was.get(&**name), is.get(&**name)) {
            (None, None) => object.push(name, value),
            (None, Some(new)) => object.push(name, new),
            (Some(was), Some(is)) => object.push(name, &patched(value, was, is)),
            (Some(_), None) if is_field(name) => object.push(name, "null"),
            (Some(_), None) => {}
        }
    }
    let known = original.by_name();
    for (name, new) in &after.0 {
        // What the type fills in by itself is not written down.
        let is_news = was.get(&**name) != Some(new);
        if is_news && !known.contains_key(&**name) && !is_removed(name) {
            object.push(name, new);
        }
    }
    object.finish()
}

/// Items that are the same at the beginning and at the end stay; of those between, the ones at the
/// same place are patched if there are as many as before.
fn patched_list(original: &[&str], before: &[&str], after: &[&str]) -> String {
    let same = |(left, right): &(&&str, &&str)| left == right;
    let head = before.iter().zip(after).take_while(same).count();
    let rest = before[head..].iter().rev().zip(after[head..].iter().rev());
    let tail = rest.take_while(same).count();
    let is_as_long = before.len() == after.len();
    let mut list = String::from("[");
    for (at, new) in after.iter().enumerate() {
        if list.len() > 1 {
            list.push(',');
        }
        if at < head {
            list.push_str(original[at]);
        } else if at >= after.len() - tail {
            list.push_str(original[original.len() - (after.len() - at)]);
        } else if is_as_long {
            list.push_str(&patched(original[at], before[at], new));
        } else {
            list.push_str(new);
        }
    }
    list.push(']');
    list
}

struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn push(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0
            .push_str(&serde_json::to_string(name).unwrap_or_default());
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The members of an object, in order, unread.
struct Members<'t>(Vec<(Cow<'t, str>, &'t str)>);

impl<'t> Members<'t> {
    fn of(text: &'t str) -> Option<Self> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    fn by_name(&self) -> BTreeMap<&str, &'t str> {
        let members = self.0.iter();
        members.map(|(name, value)| (&**name, *value)).collect()
    }
}

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

/// A name that is borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

fn items(text: &str) -> Option<Vec<&str>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// The names of a struct's fields; of any other type none.
fn fields_of<C: DeserializeOwned>() -> &'static [&'static str] {
    match C::deserialize(Probe) {
        Err(Probed(fields)) => fields,
        Ok(_) => &[],
    }
}

/// Asks a type what it wants to read, and gives it nothing.
struct Probe;

#[derive(Debug)]
struct Probed(&'static [&'static str]);

impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only asked")
    }
}

impl std::error::Error for Probed {}

impl de::Error for Probed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Probed;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Probed> {
        Err(Probed(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Probed> {
        Err(Probed(fields))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Probed> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use crate::{context, testing};

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Order {
        amount: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decided_by: Option<String>,
        #[serde(default)]
        tries: u32,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        stock: BTreeMap<String, u32>,
    }

    #[derive(Deserialize, Serialize)]
    struct Line {
        price: f64,
    }

    fn after(context: &str, change: impl Fn(&mut Order)) -> String {
        let run = testing::action(|order: &mut Order| change(order), context, "{}");
        run.result.unwrap().unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let context = r#"{"title":"\u0050ens","amount":400,"big":123456789012345678901234567890,"x":{"y":1.50}}"#;
        assert_eq!(after(context, |_| {}), context);
        let decided = after(context, |order| order.decided_by = Some("Ann".to_owned()));
        let expected = context.replace("1.50}}", r#"1.50},"decidedBy":"Ann"}"#);
        assert_eq!(decided, expected);
    }

    #[test]
    fn a_number_that_is_changed_is_written_anew() {
        let context = r#"{"amount":400,"tries":1}"#;
        assert_eq!(
            after(context, |order| order.amount += 0.5),
            r#"{"amount":400.5,"tries":1}"#
        );
    }

    #[test]
    fn none_writes_null_and_remove_removes() {
        let context = r#"{"amount":1,"decidedBy":"Ann","card":"4242"}"#;
        assert_eq!(
            after(context, |order| order.decided_by = None),
            r#"{"amount":1,"decidedBy":null,"card":"4242"}"#
        );
        let removed = after(context, |_| {
            context::remove("decidedBy");
            context::remove("card");
        });
        assert_eq!(removed, r#"{"amount":1}"#);
    }

    #[test]
    fn an_entry_that_is_taken_out_of_a_map_is_gone() {
        let context = r#"{"amount":1,"stock":{"a":1,"b":2}}"#;
        let taken = after(context, |order| {
            order.stock.remove("a");
        });
        assert_eq!(taken, r#"{"amount":1,"stock":{"b":2}}"#);
    }

    #[test]
    fn items_of_a_list_keep_what_their_type_does_not_know() {
        let context = r#"{"amount":1,"lines":[{"price":2,"sku":"A"},{"price":3,"sku":"B"}]}"#;
        let longer = after(context, |order| order.lines.push(Line { price: 4.0 }));
        assert_eq!(
            longer,
            r#"{"amount":1,"lines":[{"price":2,"sku":"A"},{"price":3,"sku":"B"},{"price":4.0}]}"#
        );
        let shorter = after(context, |order| {
            order.lines.remove(0);
        });
        assert_eq!(shorter, r#"{"amount":1,"lines":[{"price":3,"sku":"B"}]}"#);
        let dearer = after(context, |order| order.lines[1].price = 5.0);
        assert_eq!(
            dearer,
            r#"{"amount":1,"lines":[{"price":2,"sku":"A"},{"price":5.0,"sku":"B"}]}"#
        );
    }
}
