//! The examiner's side: reads, checks, tells, and compiles if it is told to.

use std::{
    io::{self, Read as _, Write},
    process::ExitCode,
};

use xcomponent_core::{
    definition::{Checked, MethodKind, Strictness, check},
    id::MethodName,
};
use xcomponent_pack as pack;

use super::{
    CHECK_BYTES_MAX, CHECK_TIME_MAX, COMPILE, DEFINITION, LENIENT, limits,
    message::{Kind, REPORT_BYTES_MAX, Refusal, Report, TEXT_BYTES_MAX, header},
};
use crate::{
    sandbox::{engine, log::cut},
    source,
};

/// Runs the examiner's side: `args` are what follows [`COMMAND`](super::COMMAND).
pub fn child_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    match examine(args.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Refused(refusal)) => {
            let said = serde_json::to_vec(&refusal)
                .map_err(io::Error::from)
                .and_then(|refusal| say(Kind::Refused, &refusal));
            said.map_or_else(|error| failed(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Err(Stop::Failed(message)) => failed(&message),
    }
}

/// Why an examination ends early.
enum Stop {
    /// It is the component's fault.
    Refused(Refusal),
    /// It is nobody's fault outside.
    Failed(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<pack::ReadError> for Stop {
    fn from(error: pack::ReadError) -> Self {
        refused(error.code(), error)
    }
}

/// What is looked at.
struct Task {
    is_definition: bool,
    strictness: Strictness,
    functions_max: usize,
}

fn examine(mut args: impl Iterator<Item = String>) -> Result<(), Stop> {
    let task = begin(&mut args).map_err(Stop::Failed)?;
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let mut sent = Vec::new();
    stdin
        .by_ref()
        .take(u64::from_le_bytes(length))
        .read_to_end(&mut sent)?;
    let component = match task.is_definition {
        true => look_at_definition(sent, &task)?,
        false => look_at_component(sent, &task)?,
    };
    let mut answer = [0];
    // Without an answer there is nothing more to do.
    if stdin.read(&mut answer)? == 0 || answer != [COMPILE] {
        return Ok(());
    }
    let engine = engine::compiler().map_err(|error| Stop::Failed(format!("{error:#}")))?;
    let code = engine.precompile_component(&component).map_err(|error| {
        refused(
            "compile_refused",
            format!("the component cannot be compiled: {error:#}"),
        )
    })?;
    Ok(say(Kind::Code, &code)?)
}

/// Takes the limits, then reads what there is to do.
fn begin(args: &mut impl Iterator<Item = String>) -> Result<Task, String> {
    let mut number = |what| {
        args.next()
            .and_then(|arg| arg.parse::<u64>().ok())
            .ok_or_else(|| format!("expected {what}"))
    };
    let memory_bytes_max = number("a number of bytes of memory")?;
    let cpu_seconds_max = number("a number of seconds of processor time")?;
    limits::limit_this_process(memory_bytes_max, cpu_seconds_max)
        .map_err(|error| format!("the limits of the examiner cannot be set: {error}"))?;
    let functions_max = number("a number of functions")?;
    let words: Vec<String> = args.collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    Ok(Task {
        is_definition: has(DEFINITION),
        strictness: match has(LENIENT) {
            true => Strictness::Lenient,
            false => Strictness::Normal,
        },
        functions_max: usize::try_from(functions_max).unwrap_or(usize::MAX),
    })
}

/// Tells what there is to say about a packed component.
fn look_at_component(component: Vec<u8>, task: &Task) -> Result<Vec<u8>, Stop> {
    let packed = pack::read(&component)?;
    let (found, max) = (packed.functions, task.functions_max);
    if found > max {
        let message = format!("the component has {found} functions, at most {max} are accepted");
        return Err(refused("too_large", message));
    }
    let kind = |kind| match kind {
        pack::MethodKind::Guard => MethodKind::Guard,
        pack::MethodKind::Action => MethodKind::Action,
    };
    let methods = packed.methods.into_iter();
    let methods: Vec<_> = methods
        .map(|method| (kind(method.kind), MethodName::new(method.name)))
        .collect();
    let checked = check_within_limits(&packed.definition, task.strictness)?;
    tell(&checked, &methods)?;
    if checked.definition.is_some() {
        say(Kind::Definition, packed.definition.as_bytes())?;
    }
    Ok(component)
}

/// Tells what there is to say about a definition, and packs it with the blank guest.
fn look_at_definition(sent: Vec<u8>, task: &Task) -> Result<Vec<u8>, Stop> {
    let yaml = String::from_utf8(sent)
        .map_err(|_| refused("definition_not_text", "the definition is not UTF-8 text"))?;
    let checked = check_within_limits(&yaml, task.strictness)?;
    tell(&checked, &[])?;
    let Some(definition) = &checked.definition else {
        return Ok(Vec::new());
    };
    let packed = pack::pack(&pack::blank(), &yaml, &source::metadata(definition), &[])
        .map_err(|error| refused("not_packed", error))?;
    say(Kind::Packed, &packed)?;
    Ok(packed)
}

/// Checks a definition. The host does the same once more, and only if it costs little: so who takes
/// more than is allowed ends here.
fn check_within_limits(yaml: &str, strictness: Strictness) -> Result<Checked, Stop> {
    let began = limits::processor_time();
    let checked = limits::within_bytes(CHECK_BYTES_MAX, || check(yaml, strictness))?;
    let spent = limits::processor_time().saturating_sub(began);
    if spent > CHECK_TIME_MAX {
        let message = format!(
            "checking the definition took {} ms of processor time, at most {} are allowed: \
             divide the component",
            spent.as_millis(),
            CHECK_TIME_MAX.as_millis()
        );
        return Err(refused("definition_too_costly", message));
    }
    Ok(checked)
}

fn tell(checked: &Checked, methods: &[(MethodKind, MethodName)]) -> Result<(), Stop> {
    let report = Report::new(checked.definition.is_some(), &checked.findings, methods);
    let bytes = serde_json::to_vec(&report).map_err(io::Error::from)?;
    if bytes.len() > REPORT_BYTES_MAX {
        let message = format!(
            "the names of its methods and the findings about it have {} bytes together, at most \
             {REPORT_BYTES_MAX} are accepted",
            bytes.len()
        );
        return Err(refused("too_large", message));
    }
    Ok(say(Kind::Report, &bytes)?)
}

fn refused(code: &str, message: impl ToString) -> Stop {
    Stop::Refused(Refusal {
        code: code.to_owned(),
        message: cut(&message.to_string(), TEXT_BYTES_MAX).into_owned(),
    })
}

fn say(kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&header(kind, bytes)?)?;
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn failed(message: &str) -> ExitCode {
    // Nobody is left to tell if this fails too.
    let _unheard = writeln!(io::stderr(), "{message}");
    ExitCode::FAILURE
}
