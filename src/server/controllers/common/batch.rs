//! Many calls at once, with care: if the first fails, the rest would fail too.

use futures::future::join_all;
use std::future::Future;

/// How many calls ended well, and the first error if there was one.
pub(crate) struct Batched<E> {
    pub(crate) successes: usize,
    pub(crate) error: Option<E>,
}

/// Makes `count` calls in groups of 1, 2, 4, ...; stops after a group with an error.
pub(crate) async fn slow_start<F, E>(count: usize, call: impl Fn(usize) -> F) -> Batched<E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut batched = Batched { successes: 0, error: None };
    let (mut made, mut size) = (0, 1);
    while made < count && batched.error.is_none() {
        let group = made..(made + size).min(count);
        made = group.end;
        size *= 2;
        for result in join_all(group.map(&call)).await {
            match result {
                Ok(()) => batched.successes += 1,
                Err(error) => batched.error = batched.error.or(Some(error)),
            }
        }
    }
    batched
}

/// Makes all calls at once; the first error if there was one.
pub(crate) async fn all_at_once<F, E>(calls: impl IntoIterator<Item = F>) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    join_all(calls).await.into_iter().collect()
}
