//! Gives components to a host in this process, and says what there is to say about them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xcomponent_core::{
    call::Deployment,
    definition::{Findings, MethodKind},
    id::{ComponentName, Digest, TenantId, Version},
};

use super::{Failure, findings, printer::Printer};
use crate::{
    app::Host,
    sent::Sent,
    source::{Component, Kind},
    tenancy::{self, Activation, Leniency, Switch, Upload, Uploaded},
};

/// What became of a component that was named.
pub(super) struct Given {
    /// As it was named.
    pub(super) path: PathBuf,
    /// What became of it.
    pub(super) uploaded: Uploaded,
}

/// Uploads components in their order. Methods that a definition without code names do nothing, and
/// are warned about. What an earlier version of this host accepted and this one does not is left as it
/// is.
pub(super) async fn upload(
    host: &Host,
    components: Vec<Component>,
    leniency: Leniency,
    activation: Activation,
    printer: &Printer,
) -> Result<Vec<Given>, Failure> {
    let mut given = Vec::new();
    for component in components {
        let name = component.path.display();
        let progress = printer.progress(format_args!("compiling {name}"));
        let allow_missing = leniency.allow_missing || component.kind == Kind::Definition;
        let upload = Upload {
            name: None,
            sent: match component.kind {
                Kind::Definition => Sent::Definition(component.definition.clone().into()),
                Kind::Packed | Kind::Project => {
                    Sent::Packed(Bytes::from_owner(Arc::clone(&component.bytes)))
                }
            },
            switch: Switch::default(),
            activation,
            dry_run: false,
            leniency: Some(Leniency {
                allow_missing,
                ..leniency
            }),
        };
        let answer = host
            .registry()
            .upload(&TenantId::default_tenant(), upload)
            .await;
        drop(progress);
        let answer = match answer {
            Err(tenancy::Error::Invalid { findings, .. }) => {
                let (source, path) = (&component.definition, &component.definition_path);
                return Err(findings::refuse(&findings, source, path, printer));
            }
            Err(error @ tenancy::Error::NotAccepted { .. }) if activation == Activation::IfNew => {
                printer.note(format_args!("warning: {name}: {error}"));
                continue;
            }
            Err(tenancy::Error::VersionExists {
                component: of,
                version,
            }) => return Err(changed(host, &component, &of, &version).into()),
            answer => answer.with_context(|| format!("{name} is not accepted"))?,
        };
        show(&answer.report.findings, &component, printer);
        for (kind, method) in &answer.report.missing {
            let kind = kind_name(*kind);
            printer.note(format_args!(
                "warning: {name}: no code answers the {kind} `{method}`; it does nothing"
            ));
        }
        given.push(Given {
            path: component.path.clone(),
            uploaded: answer,
        });
    }
    Ok(given)
}

/// A component was changed, and its version was not.
fn changed(
    host: &Host,
    component: &Component,
    name: &ComponentName,
    version: &Version,
) -> anyhow::Error {
    let loaded = host.registry().get(&TenantId::default_tenant(), name);
    let known = loaded.as_ref().and_then(|loaded| loaded.version(version));
    let known = known.map_or_else(String::new, |known| known.artifact.to_string());
    let given = Digest(Sha256::digest(&component.bytes).into()).to_string();
    let (path, definition) = (
        component.path.display(),
        component.definition_path.display(),
    );
    anyhow!(
        "{path} is not accepted: the host has version `{version}` of `{name}` with other content \
         (there {known:.12}, here {given:.12}); raise `version:` in {definition}"
    )
}

/// A line about a component that the host runs.
pub(super) fn describe(deployment: &Deployment, from: &str) -> String {
    let definition = &deployment.definition;
    let machines: Vec<String> = definition
        .machines
        .iter()
        .map(|machine| format!("{} ({} states)", machine.name, machine.states.len()))
        .collect();
    format!(
        "{} {}  {}  from {from}",
        definition.name,
        definition.version,
        machines.join(", "),
    )
}

/// The same for programs.
pub(super) fn to_json(uploaded: &Uploaded, path: &Path) -> Value {
    let definition = &uploaded.deployment.definition;
    let machines: Vec<&str> = definition
        .machines
        .iter()
        .map(|machine| machine.name.as_str())
        .collect();
    let missing: Vec<String> = uploaded
        .report
        .missing
        .iter()
        .map(|(kind, method)| format!("{} {method}", kind_name(*kind)))
        .collect();
    json!({
        "component": definition.name.as_str(),
        "version": definition.version.as_str(),
        "digest": uploaded.deployment.artifact.to_string(),
        "active": uploaded.active,
        "machines": machines,
        "missing_methods": missing,
        "source": path,
    })
}

/// `guard` or `action`.
pub(super) fn kind_name(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Guard => "guard",
        MethodKind::Action => "action",
    }
}

fn show(found: &Findings, component: &Component, printer: &Printer) {
    let renderer = printer.note_renderer();
    let (source, path) = (&component.definition, &component.definition_path);
    for finding in found {
        printer.note_drawing(&findings::draw(finding, source, path, &renderer));
    }
    if let Some(unlisted) = findings::unlisted(found) {
        printer.note(unlisted);
    }
}
