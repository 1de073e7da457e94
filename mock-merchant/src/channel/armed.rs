//! Faults of simulated channels that are armed, and how a table of them is made.

use std::sync::{Arc, Mutex, PoisonError};

/// How many faults can be armed at once.
pub const MAX_ARMED: usize = 100;

/// Makes `Fault` of lines `Variant "name" "meaning";`.
macro_rules! fault_table {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// A way to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $(#[doc = $meaning] $variant,)* }

        impl Fault {
            /// All faults: name and meaning.
            pub const TABLE: &'static [(Fault, &'static str, &'static str)] = &[$((Fault::$variant, $name, $meaning),)*];

            /// The name in `/sim/v1`.
            pub fn name(self) -> &'static str {
                Self::TABLE.iter().find(|(fault, _, _)| *fault == self).map_or("", |(_, name, _)| name)
            }

            /// The fault of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::TABLE.iter().find(|(_, n, _)| *n == name).map(|(fault, _, _)| *fault)
            }
        }
    };
}
pub(crate) use fault_table;

/// A fault that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed<F> {
    /// What to do.
    pub fault: F,
    /// How many more times; at least 1.
    pub times: u32,
    /// Only for `create`, `query`, `close`, `refund`, `query_refund` or `notify`.
    pub operation: Option<String>,
}

/// The armed faults of one channel; clones share them. Forgotten at a restart.
#[derive(Debug)]
pub struct Faults<F>(Arc<Mutex<Vec<Armed<F>>>>);

impl<F> Clone for Faults<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F: Copy + PartialEq> Faults<F> {
    /// Arms a fault behind those that are armed; false if there are a hundred already or it would never strike.
    pub fn arm(&self, armed: Armed<F>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = all.len() < MAX_ARMED && armed.times > 0;
        if room {
            all.push(armed);
        }
        room
    }

    /// Arms a fault for the next time that it fits.
    pub fn once(&self, fault: F) -> bool {
        self.arm(Armed { fault, times: 1, operation: None })
    }

    /// What is armed, in the order in which it strikes.
    pub fn armed(&self) -> Vec<Armed<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The first armed fault that fits here; it is used up by that.
    pub(crate) fn strike(&self, operation: &str, fitting: &[F]) -> Option<F> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |a: &Armed<F>| fitting.contains(&a.fault) && a.operation.as_deref().is_none_or(|name| name == operation);
        let at = all.iter().position(fits)?;
        let armed = all.get_mut(at)?;
        let fault = armed.fault;
        armed.times -= 1;
        if armed.times == 0 {
            all.remove(at);
        }
        Some(fault)
    }
}
