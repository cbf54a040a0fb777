//! What the handles of both simulators offer alike: where they are, faults, what they were asked, and the limit.

/// Gives it to a handle whose service is called `$service`.
macro_rules! handle {
    ($simulator:ty, $service:ident) => {
        impl $simulator {
            /// The origin, such as `http://127.0.0.1:4711`.
            #[must_use]
            pub fn origin(&self) -> String {
                format!("http://{}", self.running.server.address())
            }

            /// Closes the port and all connections; everything stays known. Webhooks are still sent.
            pub async fn stop(&self) {
                self.running.server.stop().await;
            }

            /// Listens again, after [`stop`](Self::stop), on the same port.
            ///
            /// # Errors
            /// If the port has been taken meanwhile.
            pub async fn resume(&self) -> anyhow::Result<()> {
                self.running.server.resume().await
            }

            /// The faults on order.
            #[must_use]
            pub fn faults(&self) -> &$crate::Faults {
                &self.$service().front.faults
            }

            /// The requests received, oldest first.
            #[must_use]
            pub fn calls(&self) -> Vec<$crate::Call> {
                self.$service().front.calls()
            }

            /// Forgets the requests received so far.
            pub fn clear_calls(&self) {
                self.$service().front.clear_calls();
            }

            /// What no correct client does. Tests assert that it is empty.
            #[must_use]
            pub fn violations(&self) -> Vec<String> {
                self.$service().front.violations()
            }

            /// Forgets the violations so far.
            pub fn clear_violations(&self) {
                self.$service().front.clear_violations();
            }

            /// Changes the limit of all keys and fills their buckets.
            pub fn set_rate_limit(&self, limit: Option<$crate::RateLimit>) {
                self.$service().front.buckets.set(limit);
            }
        }
    };
}
pub(crate) use handle;
