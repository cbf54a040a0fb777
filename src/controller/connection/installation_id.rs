//! The installation ID of a connection, and the detection of other installations for the same candidates (contract,
//! "Several installations").

use crate::controller::Context;
use crate::controller::runtime::ReconcileError;
use crate::k8s::ObjectKey;
use crate::k8s::cache::WatchScope;
use crate::k8s::patch::{MetadataChange, WriteError, is_status, write_metadata};
use api::condition::{Conditions, types};
use api::installation::{INSTALLATION, is_id, random_id};
use api::pad::Phase;
use api::reason::ConnectionReason;
use api::{LeverConnection, Pad};
use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Writes the installation ID of a connection that has none yet (contract I1). If two processes try, only one succeeds,
/// so that a connection never has two IDs.  If a connection lost its annotation, for example by `kubectl replace`, the
/// ID of its status is restored: with a new ID, all its pads would belong to another installation. An invalid value
/// stays, because its author may be about to correct it; [`obstacle`] reports it.
pub async fn ensure(context: &Context, connection: &mut Arc<LeverConnection>) -> Result<(), ReconcileError> {
    if connection.annotations().contains_key(INSTALLATION) {
        return Ok(());
    }
    let known = connection.status.as_ref().and_then(|status| status.installation.clone());
    let Some(id) = known.filter(|id| is_id(id)).or_else(random_id) else { return Ok(()) };
    let change = MetadataChange::default().annotate(INSTALLATION, &id).conflict_even_if_applied();
    match write_metadata(&context.client, connection.as_ref(), &change).await {
        Ok(written) => {
            let (namespace, name) = (written.namespace().unwrap_or_default(), written.name_any());
            tracing::info!(%namespace, connection = %name, installation = %id, "stored the installation ID of a connection");
            *connection = Arc::new(written);
            Ok(())
        }
        // The status reports it.
        Err(WriteError::Api(error)) if is_status(&error, 403) => {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            tracing::warn!(%namespace, connection = %name, %error, "the API server rejected the installation ID of a connection");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the reason and message for a connection without a valid installation ID. Until it has one, no pads are
/// created.
pub fn obstacle(connection: &LeverConnection) -> Option<(ConnectionReason, String)> {
    let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
    let Some(value) = connection.annotations().get(INSTALLATION) else {
        let message = format!(
            "The connection has no installation ID, because the operator is not allowed to write the annotation \
             {INSTALLATION}. Pads stay pending. Upgrade the operator's Role to the version of its image: it needs \
             the verb patch on leverconnections. Check: kubectl auth can-i patch leverconnections.padoperator.dev \
             --namespace {namespace} --as system:serviceaccount:NAMESPACE:SERVICEACCOUNT"
        );
        return Some((ConnectionReason::InstallationIDMissing, message));
    };
    if is_id(value) {
        return None;
    }
    let known = connection.status.as_ref().and_then(|status| status.installation.as_ref());
    let fix = match known {
        Some(id) => format!("{INSTALLATION}={id} --overwrite"),
        None => format!("{INSTALLATION}-"),
    };
    let message = format!(
        "The annotation {INSTALLATION} is not an installation ID (16 hex digits). Pads stay pending. Restore it: \
         kubectl --namespace {namespace} annotate leverconnection {name} {fix}"
    );
    Some((ConnectionReason::InstallationIDInvalid, message))
}

/// Returns the other installations that have created pads for candidates of this connection, as its Pads report them.
pub fn others(scope: &WatchScope, connection: &LeverConnection) -> BTreeSet<String> {
    let (namespace, own) = (connection.namespace().unwrap_or_default(), connection.installation());
    let pads = scope.pads.matching(&namespace, |pad| other(pad).is_some());
    let through_this =
        pads.iter().filter(|pad| connection_of(scope, pad).as_deref() == Some(&connection.name_any()));
    through_this.filter_map(|pad| other(pad)).filter(|id| !own.includes(id)).map(ToOwned::to_owned).collect()
}

/// Returns the other installation that a Pad reports.
fn other(pad: &Pad) -> Option<&str> {
    let status = pad.status.as_ref()?;
    let counts = matches!(status.phase, Some(Phase::Skipped | Phase::Open | Phase::Started));
    status.other_installation.as_deref().filter(|_| counts)
}

fn connection_of(scope: &WatchScope, pad: &Pad) -> Option<String> {
    let of_rule = || {
        let namespace = pad.namespace().unwrap_or_default();
        let configuration = scope.configurations.get(&namespace, &pad.spec.configuration_ref.name)?;
        Some(configuration.spec.connection_ref.name.clone())
    };
    of_rule().or_else(|| Some(pad.spec.connection_ref.as_ref()?.name.clone()))
}

/// Returns a stream of connections for which a Pad starts or stops reporting another installation.
pub fn concerned_by_pads(
    scope: WatchScope,
    changes: impl Stream<Item = Arc<Pad>> + Send,
) -> impl Stream<Item = ObjectRef<LeverConnection>> + Send {
    let mut known: HashMap<ObjectKey, String> = HashMap::new();
    changes.flat_map(move |changed| {
        let key = ObjectKey::from_object(changed.as_ref());
        let now = scope.pads.get(&key.namespace, &key.name);
        let reported = now.as_deref().and_then(other).map(ToOwned::to_owned);
        let before = known.get(&key).cloned();
        let is_news = reported != before;
        match reported {
            Some(id) => known.insert(key.clone(), id),
            None => known.remove(&key),
        };
        let connection = connection_of(&scope, &changed).filter(|_| is_news);
        stream::iter(connection.map(|name| ObjectRef::new(&name).within(&key.namespace)))
    })
}

/// Sets the condition Exclusive (contract I4).
pub fn exclusive(conditions: &mut Conditions, connection: &LeverConnection, others: &BTreeSet<String>) {
    if others.is_empty() {
        let message =
            "No other installation of the operator is known to create pads for the same candidates.";
        conditions.set(types::EXCLUSIVE, true, ConnectionReason::Exclusive, message);
        return;
    }
    let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
    let ids: Vec<&str> = others.iter().map(String::as_str).collect();
    let own = connection.spec.take_over.iter().map(String::as_str);
    let list = own.chain(ids.iter().copied()).map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",");
    let message = format!(
        "Another installation of the operator uses the same Lever account: {}. This operator does not change the \
         pads of the other one and creates no second pad for their candidates. Use one installation per account. To \
         stop this one: kubectl --namespace {namespace} patch leverconnection {name} --type merge --patch \
         '{{\"spec\":{{\"suspend\":true}}}}'. If this one replaces the other, stop the other one first, then run: \
         kubectl --namespace {namespace} patch leverconnection {name} --type merge --patch \
         '{{\"spec\":{{\"takeOver\":[{list}]}}}}'",
        ids.join(", ")
    );
    conditions.set(types::EXCLUSIVE, false, ConnectionReason::AccountShared, message);
}
