//! Methods that the handles of both simulators share: address, faults, received requests and rate limit.

/// Implements them for a handle whose service is called `$service`.
macro_rules! handle {
    ($simulator:ty, $service:ident) => {
        impl $simulator {
            /// Returns the origin, such as `http://127.0.0.1:4711`.
            #[must_use]
            pub fn origin(&self) -> String {
                format!("http://{}", self.running.server.address())
            }

            /// Closes the port and all connections. The service keeps its data and still sends webhooks.
            pub async fn stop(&self) {
                self.running.server.stop().await;
            }

            /// Listens on the same port again, after [`stop`](Self::stop).
            ///
            /// # Errors
            /// If another process has taken the port.
            pub async fn resume(&self) -> anyhow::Result<()> {
                self.running.server.resume().await
            }

            /// Returns the injected faults.
            #[must_use]
            pub fn faults(&self) -> &$crate::Faults {
                &self.$service().pipeline.faults
            }

            /// Returns the received requests, oldest first.
            #[must_use]
            pub fn calls(&self) -> Vec<$crate::Call> {
                self.$service().pipeline.calls()
            }

            /// Clears the received requests.
            pub fn clear_calls(&self) {
                self.$service().pipeline.clear_calls();
            }

            /// Returns requests that no correct client sends. Tests assert that there are none.
            #[must_use]
            pub fn violations(&self) -> Vec<String> {
                self.$service().pipeline.violations()
            }

            /// Clears the violations.
            pub fn clear_violations(&self) {
                self.$service().pipeline.clear_violations();
            }

            /// Sets the rate limit of all keys and refills their buckets.
            pub fn set_rate_limit(&self, limit: Option<$crate::RateLimit>) {
                self.$service().pipeline.buckets.set(limit);
            }
        }
    };
}
pub(crate) use handle;
