//! Observation of a connection: the probes of both services and the presence of a signing token.
//!
//! The probes are the guides' "Test Connection". They use each read permission once, so that a missing permission is
//! reported before the first candidate arrives.

use super::diagnosis::{self, Diagnosis};
use crate::controller::coderpad_organization::{KeyOrganization, Organization};
use crate::controller::service_clients::ServiceClients;
use crate::k8s::secrets::{SecretError, Secrets};
use api::LeverConnection;
use coderpad::{InterviewClient, PadQuota, PadSort};
use http_client::{ErrorKind, Priority, ServiceError};
use kube::ResourceExt;
use lever::{self, LeverClient, LeverStage, UserState};

/// Maximum number of other opportunities that are read if the first one cannot be read.
const MAX_PROBED_OPPORTUNITIES: usize = 3;

/// Result of a probe of one service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Probe<Facts> {
    /// Observed facts, up to the first problem.
    pub facts: Facts,
    /// The problem that stopped the probe.
    pub diagnosis: Option<Diagnosis>,
}

/// Facts from Lever.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LeverFacts {
    /// The stages of the account.
    pub stages: Option<Vec<LeverStage>>,
    /// The last write that Lever rejected for this key. Write permissions cannot be checked without a write.
    pub refused: Option<&'static str>,
}

/// Facts from CoderPad Interview.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct InterviewFacts {
    /// The organization, if the connection may use it.
    pub organization: Option<Organization>,
    /// The pad quota of the plan.
    pub quota: Option<PadQuota>,
}

/// Presence of the signing token, without which webhooks cannot be verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SigningTokenStatus {
    /// A signing token is configured.
    Present {
        /// `metadata.resourceVersion` of its Secret.
        version: String,
    },
    /// No signing token is available.
    Missing {
        /// The reason, for the condition.
        message: String,
        /// `metadata.resourceVersion` of its Secret; empty if there is none.
        version: String,
    },
}

impl SigningTokenStatus {
    /// Returns the version of the Secret; empty if there is none.
    pub fn version(&self) -> &str {
        match self {
            Self::Present { version } | Self::Missing { version, .. } => version,
        }
    }
}

/// Probes both services concurrently.
pub async fn probe(
    account: &ServiceClients,
    connection: &LeverConnection,
) -> (Probe<LeverFacts>, Probe<InterviewFacts>) {
    let (lever, interview) =
        (account.lever.with_priority(Priority::Poll), account.interview.with_priority(Priority::Poll));
    tokio::join!(
        async {
            let mut facts = LeverFacts { refused: lever.refused(), ..LeverFacts::default() };
            let diagnosis = probe_lever(&lever, connection, &mut facts).await.err();
            Probe { facts, diagnosis }
        },
        async {
            let mut facts = InterviewFacts::default();
            let diagnosis =
                probe_interview(&interview, &account.organization, connection, &mut facts).await.err();
            Probe { facts, diagnosis }
        }
    )
}

async fn probe_lever(
    client: &LeverClient,
    connection: &LeverConnection,
    facts: &mut LeverFacts,
) -> Result<(), Diagnosis> {
    let key = &connection.spec.lever.api_key_secret_ref;
    let refused = |error: ServiceError| {
        diagnosis::diagnose_call(
            &error,
            key,
            &diagnosis::lever_permission(lever::permission(error.operation)),
        )
    };
    facts.stages = Some(client.stages().await.map_err(refused)?);
    probe_opportunities(client).await.map_err(refused)?;
    let Some(performer) = client.performer() else { return Ok(()) };
    // contract C3b
    match client.user(performer).await {
        Ok(UserState::Active) => Ok(()),
        Ok(user) => Err(diagnosis::perform_as_invalid(connection, user)),
        // This key has no permission to read users.
        Err(error) if error.class == ErrorKind::Forbidden => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

/// Checks that opportunities can be listed and read. If one cannot be read, others are tried, because it may have been
/// deleted or merged since.
async fn probe_opportunities(client: &LeverClient) -> Result<(), ServiceError> {
    let Some(first) = client.any_opportunity().await? else { return Ok(()) };
    let error = match client.opportunity(&first).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if matches!(error.class, ErrorKind::Unauthorized | ErrorKind::Throttled) || error.status.is_none() {
        return Err(error);
    }
    let others = client.some_opportunities(MAX_PROBED_OPPORTUNITIES + 1).await?;
    for other in others.iter().filter(|other| **other != first).take(MAX_PROBED_OPPORTUNITIES) {
        if client.opportunity(other).await.is_ok() {
            return Ok(());
        }
    }
    // The opportunity was deleted or moved since it was listed, so the response does not concern the key.
    let is_of_this_one = error.class == ErrorKind::NotFound
        || error.status.is_some_and(|status| (300..400).contains(&status) || status == 404 || status == 410);
    if is_of_this_one { Ok(()) } else { Err(error) }
}

async fn probe_interview(
    interview: &InterviewClient,
    of_key: &KeyOrganization,
    connection: &LeverConnection,
    facts: &mut InterviewFacts,
) -> Result<(), Diagnosis> {
    let key = &connection.spec.interview.api_key_secret_ref;
    const OWNER: &str =
        "Use the key of an organization owner, and check that the CoderPad plan includes API access.";
    const ALL_PADS: &str = "Use the key of an organization owner, or allow users to see all pads in CoderPad's \
                            organization settings.";
    let organization = match of_key.fetch(interview).await {
        Ok(organization) => organization,
        Err(error) if error.class == ErrorKind::NotFound => {
            return Err(diagnosis::no_organization(&error.to_string(), key));
        }
        Err(error) => return Err(diagnosis::diagnose_call(&error, key, OWNER)),
    };
    let Some(organization) = organization else {
        return Err(diagnosis::no_organization(
            "CoderPad Interview: GET /organization names no organization",
            key,
        ));
    };
    // contract C4a: send no further requests to another organization, and do not store its facts.
    organization.check(connection).map_err(diagnosis::organization_changed)?;
    facts.organization = Some(organization);
    facts.quota =
        Some(interview.quota().await.map_err(|error| diagnosis::diagnose_call(&error, key, OWNER))?);
    let pads = interview.organization_pads(None, PadSort::Updated).await;
    pads.map(drop).map_err(|error| diagnosis::diagnose_call(&error, key, ALL_PADS))
}

/// Reports whether a signing token is available. Its value is dropped immediately.
pub async fn token(
    secrets: &Secrets,
    connection: &LeverConnection,
) -> Result<SigningTokenStatus, SecretError> {
    let Some(reference) = &connection.spec.webhook.signing_token_secret_ref else {
        let message = "spec.webhook.signingTokenSecretRef is not set, so webhooks cannot be verified. Put the signature \
                       token of Lever's Candidate Stage Change webhook into a Secret and refer to it in this field.";
        return Ok(SigningTokenStatus::Missing { message: message.into(), version: String::new() });
    };
    let namespace = connection.namespace().unwrap_or_default();
    match secrets.read(&namespace, reference).await {
        Ok(token) => Ok(SigningTokenStatus::Present { version: token.version }),
        Err(error) => match diagnosis::diagnose_secret(&error, &namespace) {
            Some((_, hint)) => {
                let message = format!(
                    "spec.webhook.signingTokenSecretRef: {} The value must be the signature token of Lever's Candidate \
                     Stage Change webhook.",
                    diagnosis::sentence(&format!("{error}{hint}"))
                );
                let version = error.version().unwrap_or_default().to_owned();
                Ok(SigningTokenStatus::Missing { message, version })
            }
            None => Err(error),
        },
    }
}
