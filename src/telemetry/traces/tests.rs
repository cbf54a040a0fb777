use super::Traces;
use super::export::DropIdleSpans;
use super::span_definitions::{ReconcileSpan, step, traceparent_annotation, webhook};
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// Span processor that stores the spans that would be sent.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Sent {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Sent {
    fn named(&self, name: &str) -> Vec<SpanData> {
        self.0.lock().iter().filter(|span| span.name == name).cloned().collect()
    }
}

/// Enables traces on this thread until the guard is dropped.
fn traces() -> (Sent, DefaultGuard) {
    let sent = Sent::default();
    let provider = SdkTracerProvider::builder().with_span_processor(DropIdleSpans(sent.clone())).build();
    let layer = Traces { provider }.layer();
    (sent, tracing::subscriber::set_default(registry().with(layer)))
}

async fn something() -> Result<(), ()> {
    async {}.instrument(step("read opportunity", "not eligible")).await;
    Ok(())
}

#[tokio::test]
async fn a_trace_continues_by_its_annotation_until_its_work_is_done() {
    let (sent, _guard) = traces();
    let (_, annotation) =
        async { traceparent_annotation() }.instrument(webhook("hiring", "acme")).await.unwrap();
    for continues in [true, false] {
        let pass = ReconcileSpan::new("Pad", "hiring", "a", Some(&annotation), continues);
        pass.run(something()).await.unwrap();
    }
    let webhook = sent.named("POST /webhooks/lever/{namespace}/{connection}").remove(0);
    let [own, later] = &sent.named("reconcile Pad")[..] else { panic!("two passes") };
    assert_eq!(own.span_context.trace_id(), webhook.span_context.trace_id());
    assert_eq!(own.parent_span_id, webhook.span_context.span_id());
    assert_ne!(later.span_context.trace_id(), webhook.span_context.trace_id());
    assert_eq!(later.links[0].span_context.trace_id(), webhook.span_context.trace_id());
    let steps = sent.named("read opportunity");
    assert_eq!(steps[0].parent_span_id, own.span_context.span_id());
    assert_eq!(steps[1].parent_span_id, later.span_context.span_id());
}

#[tokio::test]
async fn a_pass_that_does_nothing_is_not_sent_unless_it_fails() {
    let (sent, _guard) = traces();
    let (_, annotation) =
        async { traceparent_annotation() }.instrument(webhook("hiring", "acme")).await.unwrap();
    for annotation in [None, Some(annotation.as_str())] {
        ReconcileSpan::new("Pad", "hiring", "idle", annotation, true)
            .run(async { Ok::<_, ()>(()) })
            .await
            .unwrap();
        ReconcileSpan::new("Pad", "hiring", "fails", annotation, true)
            .run(async { Err::<(), _>(()) })
            .await
            .unwrap_err();
    }
    let sent = sent.named("reconcile Pad");
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert!(sent.iter().all(|span| span.attributes.iter().any(|one| one.value.as_str() == "fails")));
}

/// The operator must tolerate any annotation, because anybody who may write Pads may set it.
#[tokio::test]
async fn an_invalid_annotation_counts_as_absent() {
    let (sent, _guard) = traces();
    for annotation in ["", "00", "00-xyz-1-01", &format!("00-{:032}-{:016}-01", 0, 0), &"9".repeat(100_000)] {
        ReconcileSpan::new("Pad", "hiring", "a", Some(annotation), true).run(something()).await.unwrap();
    }
    let passes = sent.named("reconcile Pad");
    assert!(passes.len() == 5 && passes.iter().all(|pass| pass.links.is_empty()), "{passes:#?}");
}

#[tokio::test]
async fn without_a_trace_there_is_no_annotation() {
    assert_eq!(traceparent_annotation(), None);
    assert_eq!(
        async { traceparent_annotation() }.instrument(webhook("hiring", "acme")).await,
        None,
        "traces are off"
    );
}
