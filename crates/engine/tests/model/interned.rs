//! Values that exist once per process of the test: large real objects become small values that are compared and hashed
//! by a number. The tables live as long as the process.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{LazyLock, RwLock};

/// Reference to an interned value. Two references are equal if and only if their values are.
pub struct Interned<T: 'static> {
    number: u32,
    value: &'static T,
}

impl<T> Clone for Interned<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Interned<T> {}

impl<T> PartialEq for Interned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Interned<T> {}

impl<T> Hash for Interned<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl<T> Interned<T> {
    /// Returns the value, which lives as long as the process.
    pub fn value(self) -> &'static T {
        self.value
    }
}

impl<T> Deref for Interned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Interned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// All values of a type, by a hash of 128 bits of their text.
pub struct Table<T: 'static>(LazyLock<RwLock<HashMap<[u64; 2], Interned<T>>>>);

impl<T> Table<T> {
    pub const fn new() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    /// Returns the value with this text. Creates it if there is none.
    pub fn intern(&self, text: &str, create: impl FnOnce() -> T) -> Interned<T> {
        let build = BuildHasherDefault::<DefaultHasher>::default();
        let key = [0, 1].map(|salt: u8| build.hash_one((salt, text)));
        if let Some(found) = self.0.read().unwrap().get(&key) {
            return *found;
        }
        let value = create();
        let mut all = self.0.write().unwrap();
        let number = u32::try_from(all.len()).unwrap();
        *all.entry(key).or_insert_with(|| Interned { number, value: Box::leak(Box::new(value)) })
    }
}

/// The results of a pure function, by its input.
pub struct Memo<K: 'static, V: 'static>(LazyLock<RwLock<HashMap<K, V>>>);

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    pub const fn new() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    /// Returns the result for an input. Computes it the first time.
    pub fn get(&self, key: K, compute: impl FnOnce(&K) -> V) -> V {
        if let Some(found) = self.0.read().unwrap().get(&key) {
            return found.clone();
        }
        let value = compute(&key);
        self.0.write().unwrap().insert(key, value.clone());
        value
    }
}
