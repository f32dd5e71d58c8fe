//! Whether what a script expects is the case.

use serde_json::{Map, Value};
use xcomponent_core::{
    effect::Tally,
    id::{ComponentName, InstanceId, MachineName, StateName},
    record::{Disposition, Snapshot},
};

use super::{
    Error, Outcome, PAGE, Simulation,
    script::{Expect, Step},
    told::{Failure, Happened, Names, Told},
};
use crate::driver::{InstanceFilter, LetterFilter, PageRequest};

/// What was found to differ: what was expected, and what is the case.
type Differs = Vec<(String, String)>;

impl Simulation<'_> {
    /// Compares what became of a step, and how things stand, with what was expected.
    pub(super) async fn check(&mut self, step: &Step, outcome: &Outcome) -> Result<(), Error> {
        let nothing = Expect::default();
        let expect = step.expect.as_ref().unwrap_or(&nothing);
        let mut differs = Differs::new();
        compare_outcome(expect, outcome, &mut differs);
        if expect.is_about_an_instance() {
            self.compare_instance(expect, step, outcome, &mut differs)
                .await?;
        }
        if let Some(count) = expect.count {
            let found = self.count(expect, step).await?;
            compare("count", Some(&count), &found, &mut differs);
        }
        if let Some(letters) = expect.dead_letters {
            let found = self.dead_letters(expect.code.as_deref()).await?;
            compare("dead_letters", Some(&letters), &found, &mut differs);
        }
        self.report.checked += usize::from(step.expect.is_some());
        for (expected, got) in differs {
            let failure = Failure {
                line: step.line,
                expected,
                got,
            };
            (self.tell)(&Told::Failed(failure.clone()));
            self.report.failures.push(failure);
        }
        Ok(())
    }

    async fn compare_instance(
        &self,
        expect: &Expect,
        step: &Step,
        outcome: &Outcome,
        differs: &mut Differs,
    ) -> Result<(), Error> {
        let id = match &expect.instance {
            Some(name) => self.instance(name, step)?,
            None => match &outcome.instance {
                Some(id) => id.clone(),
                None => return Err(step.wrong("name the `instance` that is expected to be so")),
            },
        };
        let Some(instance) = self.read(&id).await? else {
            differs.push((format!("an instance `{id}`"), "none".to_owned()));
            return Ok(());
        };
        let state = instance.state().name.to_string();
        compare("state", expect.state.as_ref(), &state, differs);
        let status = instance.status.as_str().to_owned();
        compare("status", expect.status.as_ref(), &status, differs);
        if let Some(context) = &expect.context {
            compare_properties("context.", context, &instance.context.value(), differs);
        }
        if expect.path.is_some() || expect.history.is_some() {
            compare_history(expect, &self.history(&id).await?, differs);
        }
        Ok(())
    }

    /// What happened to an instance, oldest first.
    async fn history(&self, id: &InstanceId) -> Result<Vec<Happened>, Error> {
        let mut page = PageRequest::first(PAGE);
        let mut history = Vec::new();
        loop {
            let handle = self.host.handle();
            let entries = handle.history(&self.tenant, id, page).await?;
            history.extend(entries.items);
            if entries.next.is_none() {
                break;
            }
            page.after = entries.next;
        }
        // Everybody was named when it was told.
        let mut names = Names::default();
        let happened = history.iter().rev();
        let happened = happened
            .filter_map(|entry| Happened::of(&entry.record, self.start, &mut names))
            .collect();
        Ok(happened)
    }

    async fn read(&self, id: &InstanceId) -> Result<Option<Snapshot>, Error> {
        Ok(self.host.handle().read(&self.tenant, id).await?.ok())
    }

    /// How many instances there are of that machine, finished ones counted.
    async fn count(&self, expect: &Expect, step: &Step) -> Result<u64, Error> {
        let component = match (&expect.component, &expect.machine) {
            (None, Some(machine)) => Some(self.component(None, machine, step)?),
            (name, _) => name.as_deref().map(ComponentName::new),
        };
        let filter = InstanceFilter {
            component,
            machine: expect.machine.as_deref().map(MachineName::new),
            state: expect.state.as_deref().map(StateName::new),
            ..InstanceFilter::default()
        };
        let handle = self.host.handle();
        let counts = handle.instance_counts(&self.tenant, filter).await?;
        Ok(counts.iter().map(|count| count.instances).sum())
    }

    /// How many events are parked, for that reason if one is given.
    async fn dead_letters(&self, code: Option<&str>) -> Result<u64, Error> {
        let handle = self.host.handle();
        let Some(code) = code else {
            let filter = LetterFilter::default();
            return Ok(handle.dead_letter_count(&self.tenant, filter).await?);
        };
        let mut page = PageRequest::first(PAGE);
        let mut found = 0;
        loop {
            let filter = LetterFilter::default();
            let letters = handle.dead_letters(&self.tenant, filter, page).await?;
            let is_meant = letters
                .items
                .iter()
                .filter(|it| it.letter.why.code() == code);
            found += is_meant.count() as u64;
            if letters.next.is_none() {
                return Ok(found);
            }
            page.after = letters.next;
        }
    }
}

impl Expect {
    /// Whether it says how one instance is, and not how many there are.
    fn is_about_an_instance(&self) -> bool {
        let is_so = self.state.is_some() || self.status.is_some() || self.context.is_some();
        let was_so = self.path.is_some() || self.history.is_some();
        self.count.is_none() && (is_so || was_so || self.instance.is_some())
    }

    /// Whether it says that the step has not done what it says.
    fn is_about_failing(&self) -> bool {
        self.disposition.is_some() || self.refused.is_some() || self.code.is_some()
    }
}

fn compare_outcome(expect: &Expect, outcome: &Outcome, differs: &mut Differs) {
    let disposition = outcome.disposition.map(Disposition::as_str);
    let text = |it: &Option<String>| it.clone().unwrap_or_else(|| "nothing".to_owned());
    let disposition_text = text(&disposition.map(str::to_owned));
    let said = expect.disposition.as_ref();
    compare("disposition", said, &disposition_text, differs);
    compare("from", expect.from.as_ref(), &text(&outcome.from), differs);
    compare("to", expect.to.as_ref(), &text(&outcome.to), differs);
    // With `dead_letters`, the code says which of them are counted.
    if expect.dead_letters.is_none() {
        compare("code", expect.code.as_ref(), &text(&outcome.code), differs);
    }
    let refused = outcome.code.clone().filter(|_| outcome.is_refused);
    compare("refused", expect.refused.as_ref(), &text(&refused), differs);
    if let Some(part) = &expect.message
        && !outcome
            .message
            .as_ref()
            .is_some_and(|message| message.contains(&**part))
    {
        differs.push((format!("a message with `{part}`"), text(&outcome.message)));
    }
    if expect.names_counts() {
        compare_tally(expect, outcome.tally.unwrap_or_default(), differs);
    }
    let failed = outcome.is_refused
        || matches!(disposition, Some("rejected" | "dead-lettered" | "retrying"));
    if failed && !expect.is_about_failing() {
        let got = format!("{} ({})", text(&outcome.code), text(&outcome.message));
        differs.push(("the step to succeed".to_owned(), got));
    }
}

/// One of a tally's counts.
type CountOf = fn(&Tally) -> u64;

impl Expect {
    fn counts(&self) -> [(&'static str, Option<u64>, CountOf); 6] {
        [
            ("matched", self.matched, |tally| tally.matched),
            ("transitioned", self.transitioned, |tally| {
                tally.transitioned
            }),
            ("ignored", self.ignored, |tally| tally.ignored),
            ("deferred", self.deferred, |tally| tally.deferred),
            ("rejected", self.rejected, |tally| tally.rejected),
            ("dead_lettered", self.dead_lettered, |tally| {
                tally.dead_lettered
            }),
        ]
    }

    fn names_counts(&self) -> bool {
        self.counts()
            .iter()
            .any(|(_, expected, _)| expected.is_some())
    }
}

fn compare_tally(expect: &Expect, tally: Tally, differs: &mut Differs) {
    for (name, expected, of) in expect.counts() {
        compare(name, expected.as_ref(), &of(&tally), differs);
    }
}

/// The counts of a broadcast that are not zero, and how many were matched.
pub(super) fn counted(tally: Tally) -> String {
    let counts = Expect::default().counts();
    let counts = counts.iter().map(|(name, _, of)| (*name, of(&tally)));
    let told = counts.filter(|(name, n)| *name == "matched" || *n > 0);
    let told: Vec<String> = told.map(|(name, n)| format!("{name} {n}")).collect();
    told.join(", ")
}

fn compare_history(expect: &Expect, history: &[Happened], differs: &mut Differs) {
    if let Some(path) = &expect.path {
        let entered = history
            .iter()
            .filter(|happened| happened.disposition == Disposition::Transitioned.as_str());
        let entered: Vec<&str> = entered
            .filter_map(|happened| happened.to.as_deref())
            .collect();
        compare(
            "path",
            Some(&path.join(" → ")),
            &entered.join(" → "),
            differs,
        );
    }
    if let Some(expected) = &expect.history {
        compare("events", Some(&expected.len()), &history.len(), differs);
        for (n, (expected, happened)) in expected.iter().zip(history).enumerate() {
            let happened = serde_json::to_value(happened).unwrap_or_default();
            compare_properties(&format!("history[{n}]."), expected, &happened, differs);
        }
    }
}

/// Every property that is named must be there with that value; numbers by value.
fn compare_properties(
    prefix: &str,
    expected: &Map<String, Value>,
    got: &Value,
    differs: &mut Differs,
) {
    for (name, expected) in expected {
        let got = got.get(name).unwrap_or(&Value::Null);
        let same = match (expected.as_f64(), got.as_f64()) {
            (Some(expected), Some(got)) => expected == got,
            _ => expected == got,
        };
        if !same {
            differs.push((format!("{prefix}{name} = {expected}"), got.to_string()));
        }
    }
}

fn compare<T: PartialEq + std::fmt::Display>(
    name: &str,
    expected: Option<&T>,
    got: &T,
    differs: &mut Differs,
) {
    if let Some(expected) = expected
        && expected != got
    {
        differs.push((format!("{name} `{expected}`"), format!("`{got}`")));
    }
}
