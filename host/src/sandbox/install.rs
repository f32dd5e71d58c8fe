//! From bytes that somebody sent to a component that is ready to be called.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use xcomponent_core::{
    call::Fault,
    definition::{Findings, MethodKind, Strictness},
    id::{ComponentName, Digest, MethodName, TenantId},
};

use super::{
    Shared,
    examiner::{self, Examiner},
    lane::within,
    live::{Live, NoStart},
    loaded::Loaded,
};
use crate::{quiet::quietly, sent::Sent};

/// Guards and actions, sorted.
pub type Methods = Vec<(MethodKind, MethodName)>;

/// Methods that an error names; further ones are counted.
const NAMES_SHOWN_MAX: usize = 50;

/// Why a component is not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is larger than is accepted.
    #[error("the component has {found} bytes, at most {max} are accepted")]
    TooLarge {
        /// How many there are.
        found: usize,
        /// How many are accepted.
        max: usize,
    },
    /// So many are looked at or wait for it that no more are taken.
    #[error("{waiting} components wait to be examined")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// It is none, is not acceptable, or only at too high a cost.
    #[error(transparent)]
    Examiner(#[from] examiner::Error),
    /// It does not fit the contract between components and host.
    #[error("the component does not fit the contract: {message}")]
    Contract {
        /// What does not fit.
        message: String,
    },
    /// It faults before it answers its first question.
    #[error("the component faults when it is started: {}", fault.message)]
    Start {
        /// How.
        fault: Fault,
    },
    /// It says one thing in its section and another when it is asked.
    #[error(
        "the component's list of methods differs from its section `xcomponent:methods`: {}",
        names(differing)
    )]
    ListDiffers {
        /// Methods that only one of the two has.
        differing: Methods,
    },
    /// Its definition names methods that it does not answer.
    #[error("the component does not answer {}", names(methods))]
    MissingMethods {
        /// Which.
        methods: Methods,
    },
    /// The host's own cache cannot be used.
    #[error("the cache of compiled components cannot be used")]
    Cache(#[source] io::Error),
}

impl InstallError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Busy { .. } => "busy",
            Self::Examiner(error) => error.code(),
            Self::Contract { .. } => "contract_broken",
            Self::Start { .. } => "start_faulted",
            Self::ListDiffers { .. } => "methods_differ",
            Self::MissingMethods { .. } => "missing_methods",
            Self::Cache(_) => "cache_unusable",
        }
    }

    /// Whether the same component may be accepted another time.
    pub fn is_of_the_host(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Cache(_) => true,
            Self::Examiner(error) => error.is_of_the_host(),
            Self::TooLarge { .. }
            | Self::Contract { .. }
            | Self::Start { .. }
            | Self::ListDiffers { .. }
            | Self::MissingMethods { .. } => false,
        }
    }
}

/// A component that was looked at. Dropped, its examiner is stopped.
pub struct Examined {
    /// SHA-256 of the packed component.
    pub artifact: Digest,
    /// The packed component.
    pub component: Bytes,
    /// What there is to say about its definition.
    pub findings: Findings,
    /// The text of the definition, if it has no errors.
    pub definition: Option<String>,
    methods: Methods,
    examiner: Examiner,
    shared: Arc<Shared>,
    /// Bounds examiners, and the guests that run outside the pool's slots to list their methods.
    _turn: OwnedSemaphorePermit,
}

/// Has an examiner look at what was sent. Those that come while all are busy wait, up to a number.
pub(super) async fn examine(
    shared: &Arc<Shared>,
    sent: Sent,
    strictness: Strictness,
) -> Result<Examined, InstallError> {
    let config = &shared.config.compile;
    let (found, max) = (sent.bytes().len(), config.component_bytes_max);
    if found > max {
        return Err(InstallError::TooLarge { found, max });
    }
    let Ok(waiting) = Arc::clone(&shared.examiner_waits).try_acquire_owned() else {
        let waiting = config.waits_max;
        return Err(InstallError::Busy { waiting });
    };
    let turn = shared.turn().await;
    drop(waiting);
    let (examiner, found) = Examiner::look_at(&sent, strictness, config).await?;
    let (definition, component) = match (found.accepted, sent) {
        (Some(packed), Sent::Definition(yaml)) => (Some(text(&yaml)?), Bytes::from(packed)),
        (Some(definition), Sent::Packed(component)) => (Some(text(&definition)?), component),
        (None, Sent::Definition(bytes) | Sent::Packed(bytes)) => (None, bytes),
    };
    Ok(Examined {
        artifact: digest(&component).await?,
        component,
        findings: found.findings,
        definition,
        methods: found.methods,
        examiner,
        shared: Arc::clone(shared),
        _turn: turn,
    })
}

/// SHA-256 of a component.
async fn digest(component: &Bytes) -> Result<Digest, InstallError> {
    let component = component.clone();
    let digest = quietly(move || Digest(Sha256::digest(&component).into())).await;
    digest.map_err(|error| examiner::Error::Process(error).into())
}

/// An examiner that calls something accepted has seen that it is text.
fn text(bytes: &[u8]) -> Result<String, InstallError> {
    let text = std::str::from_utf8(bytes).map_err(|error| examiner::Error::Nonsense {
        problem: error.to_string(),
    })?;
    Ok(text.to_owned())
}

impl Examined {
    /// Makes the component ready to be called: has it compiled (or finds it in the cache), links it,
    /// starts it within a budget and compares the methods it answers with those that are `wanted`.
    /// Gives all methods it answers, sorted. Needs a tokio runtime with time and io.
    ///
    /// # Errors
    ///
    /// If the component is not accepted; nothing of it is kept then.
    pub async fn install(
        self,
        wanted: &[(MethodKind, MethodName)],
        allow_missing: bool,
    ) -> Result<Methods, InstallError> {
        let Self {
            artifact,
            methods: described,
            examiner,
            shared,
            _turn,
            ..
        } = self;
        let missing: Methods = wanted
            .iter()
            .filter(|method| described.binary_search(method).is_err())
            .cloned()
            .collect();
        if !missing.is_empty() && !allow_missing {
            return Err(InstallError::MissingMethods { methods: missing });
        }
        let loaded = match shared.versions.get(&artifact) {
            Some(loaded) => loaded,
            None => compiled(&shared, artifact, examiner).await?,
        };
        let listing: BoxFuture<'static, _> =
            Box::pin(list(Arc::clone(&shared), Arc::clone(&loaded)));
        let listed = within(shared.config.wall_per_call_max, listing)
            .await
            .and_then(|listed| listed);
        let listed = listed.map_err(|fault| InstallError::Start { fault })?;
        let only = |some: &Methods, others: &Methods| -> Methods {
            some.iter()
                .filter(|method| others.binary_search(method).is_err())
                .cloned()
                .collect()
        };
        let differing = [only(&listed, &described), only(&described, &listed)].concat();
        if !differing.is_empty() {
            return Err(InstallError::ListDiffers { differing });
        }
        shared.keep(artifact, &loaded);
        Ok(listed)
    }
}

/// Asks a component which methods it answers. It is nobody's yet: all that are asked share the memory
/// of one component.
async fn list(shared: Arc<Shared>, loaded: Arc<Loaded>) -> Result<Methods, Fault> {
    let nobody = ComponentName::new("");
    let holder = shared.rations.holder(&TenantId::default_tenant(), &nobody);
    let mut ration = holder.nothing();
    loop {
        match Live::start(&loaded, &shared.config, ration).await {
            Ok(mut live) => return live.list().await,
            Err(NoStart::Fault(fault)) => return Err(fault),
            Err(NoStart::Starved(bytes)) => ration = holder.wait_for(bytes).await?,
        }
    }
}

/// The code of a component that an examiner has in hand, linked.
pub(super) async fn compiled(
    shared: &Arc<Shared>,
    artifact: Digest,
    examiner: Examiner,
) -> Result<Arc<Loaded>, InstallError> {
    let host = |error| InstallError::Examiner(examiner::Error::Process(error));
    let finding = Arc::clone(shared);
    let found = quietly(move || finding.find_code(artifact));
    if let Some(loaded) = found.await.map_err(host)?? {
        return Ok(loaded);
    }
    let code = examiner.compile().await?;
    let keeping = Arc::clone(shared);
    let kept = quietly(move || {
        let kept = keeping.cache.put(&artifact, &code);
        kept.map_err(InstallError::Cache)?;
        keeping.link(&code)
    });
    kept.await.map_err(host)?
}

impl Shared {
    /// The code of a component in the cache, linked.
    pub(super) fn find_code(
        self: &Arc<Self>,
        artifact: Digest,
    ) -> Result<Option<Arc<Loaded>>, InstallError> {
        let code = self.cache.get(&artifact).map_err(InstallError::Cache)?;
        code.map(|code| self.link(&code)).transpose()
    }
}

fn names(methods: &Methods) -> String {
    let name = |(kind, name): &(MethodKind, MethodName)| match kind {
        MethodKind::Guard => format!("guard `{name}`"),
        MethodKind::Action => format!("action `{name}`"),
    };
    let mut shown: Vec<String> = methods.iter().take(NAMES_SHOWN_MAX).map(name).collect();
    if let Some(more) = methods.len().checked_sub(NAMES_SHOWN_MAX + 1) {
        shown.push(format!("and {} more", more + 1));
    }
    shown.join(", ")
}
