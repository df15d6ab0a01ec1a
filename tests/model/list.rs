//! A short list that is copied with the state that it is part of.

use std::{
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
};

/// At most `N` items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<T, const N: usize> {
    len: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { len: 0, items: [T::default(); N] }
    }
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// Adds an item. A scenario in which a list runs over is too large for the model, and has to be told so.
    pub(crate) fn push(&mut self, item: T) {
        assert!(usize::from(self.len) < N, "a list of the model's state is too short for this scenario");
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    /// Adds an item and returns its place.
    pub(crate) fn place(&mut self, item: T) -> u8 {
        self.push(item);
        self.len - 1
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for List<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.len)]
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: Hash, const N: usize> Hash for List<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
