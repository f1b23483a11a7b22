//! Lists that the pods of one template have alike, held once for all of them.

use super::Container;
use k8s_openapi::api::core::v1::Toleration;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock, Weak},
};

/// A list that is read from many objects and is the same in most; those that are equal share their memory.
#[derive(Debug)]
pub struct Alike<T>(Arc<[T]>);

/// What such lists are made of.
pub trait Shared: PartialEq + Serialize + DeserializeOwned + 'static {
    /// The lists of this kind that anyone holds.
    fn known() -> &'static Known<Self>
    where
        Self: Sized;
}

/// The lists there are.
pub struct Known<T> {
    held: Mutex<Held<T>>,
}

struct Held<T> {
    /// By a hash of their text.
    by_hash: HashMap<u64, Weak<[T]>>,
    /// With so many of them those that nobody holds any more are looked for.
    full: usize,
}

/// Fewer are not worth looking through.
const FULL_MIN: usize = 1024;

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known { held: Mutex::new(Held { by_hash: HashMap::new(), full: FULL_MIN }) }
    }
}

impl<T: Shared> Known<T> {
    /// The list that equals this one, if it is held, or this one.
    fn share(&self, list: Vec<T>) -> Arc<[T]> {
        let Ok(text) = serde_json::to_vec(&list) else { return list.into() };
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        let hash = hasher.finish();
        let mut held = self.held.lock();
        let Held { by_hash, full } = &mut *held;
        if let Some(known) = by_hash.get(&hash).and_then(Weak::upgrade)
            && *known == *list
        {
            return known;
        }
        if by_hash.len() >= *full {
            by_hash.retain(|_, known| known.strong_count() > 0);
            *full = FULL_MIN.max(by_hash.len() * 2);
        }
        let list: Arc<[T]> = list.into();
        // Of two with the same hash the later is shared from now on.
        by_hash.insert(hash, Arc::downgrade(&list));
        list
    }
}

impl Shared for Container {
    fn known() -> &'static Known<Container> {
        static KNOWN: LazyLock<Known<Container>> = LazyLock::new(Known::default);
        &KNOWN
    }
}

impl Shared for Toleration {
    fn known() -> &'static Known<Toleration> {
        static KNOWN: LazyLock<Known<Toleration>> = LazyLock::new(Known::default);
        &KNOWN
    }
}

impl<T: Shared> From<Vec<T>> for Alike<T> {
    fn from(list: Vec<T>) -> Alike<T> {
        match list.is_empty() {
            true => Alike::default(),
            false => Alike(T::known().share(list)),
        }
    }
}

impl<'de, T: Shared> Deserialize<'de> for Alike<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Alike<T>, D::Error> {
        // Absent, null and empty are one.
        let list = Option::<Vec<T>>::deserialize(source)?;
        Ok(list.unwrap_or_default().into())
    }
}

impl<T: Serialize> Serialize for Alike<T> {
    fn serialize<S: serde::Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(target)
    }
}

impl<T> Default for Alike<T> {
    fn default() -> Alike<T> {
        Alike(Arc::default())
    }
}

impl<T> Clone for Alike<T> {
    fn clone(&self) -> Alike<T> {
        Alike(self.0.clone())
    }
}

impl<T: PartialEq> PartialEq for Alike<T> {
    fn eq(&self, other: &Alike<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T> Deref for Alike<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a Alike<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &str) -> Vec<Container> {
        vec![Container { name: name.to_owned(), ..Container::default() }]
    }

    #[test]
    fn equal_lists_are_one() {
        let (a, b, c) = (Alike::from(list("a")), Alike::from(list("a")), Alike::from(list("c")));
        assert!(Arc::ptr_eq(&a.0, &b.0));
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let known = Known::<Container>::default();
        let kept: Vec<_> = (0..10).map(|n| known.share(list(&format!("kept-{n}")))).collect();
        for n in 0..10 * FULL_MIN {
            known.share(list(&format!("gone-{n}")));
        }
        assert!(known.held.lock().by_hash.len() <= FULL_MIN);
        assert!(Arc::ptr_eq(&kept[3], &known.share(list("kept-3"))));
    }
}
