//! The worlds of the WIT packages as types: which facts go in, which answer comes out.

use std::ops::Range;

use onhand_policy::decision::DecisionError;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, ComponentType, Instance, Lift, Lower, TypedFunc};

use crate::guest::Guest;
use crate::kind::Kind;

pub(crate) mod sealed {
    /// Keeps the worlds to those of this crate.
    pub trait Sealed {}
}

/// One of the three worlds: [`Pricing`](crate::Pricing), [`Fraud`](crate::Fraud),
/// [`Recommend`](crate::Recommend).
///
/// The hidden functions are how a plugin of the world is called; only this crate uses them.
pub trait World: sealed::Sealed + Send + Sync + Sized + 'static {
    /// The kind of plugin.
    const KIND: Kind;
    /// Most orders or requests of one call; a larger batch is called in parts.
    const CALL_ORDERS: usize;
    /// Facts of a batch, checked.
    type Batch<'a>: Copy;
    /// What a plugin or a built-in policy answers.
    type Raw;
    /// The answer after its check.
    type Answer: Default;

    /// Parameters of its function: lists that are filled anew for each call.
    #[doc(hidden)]
    type Arguments: ComponentNamedList + Lower + Clone + Default + Send + Sync + 'static;
    /// A record of its function's answer.
    #[doc(hidden)]
    type Record: ComponentType + Lift + 'static;
    /// Writes facts into the parameters.
    #[doc(hidden)]
    fn fill(arguments: &mut Self::Arguments, batch: Self::Batch<'_>);
    /// Makes the answer of its records.
    #[doc(hidden)]
    fn raw(records: Vec<Self::Record>) -> Self::Raw;
    #[doc(hidden)]
    fn check(batch: Self::Batch<'_>, raw: &Self::Raw) -> Result<Self::Answer, DecisionError>;
    #[doc(hidden)]
    fn orders(batch: Self::Batch<'_>) -> usize;
    /// Calls `then` with some orders of a batch as a batch of their own.
    #[doc(hidden)]
    fn part<R>(
        batch: Self::Batch<'_>,
        orders: Range<usize>,
        then: impl FnOnce(Self::Batch<'_>) -> R,
    ) -> R;
    /// Adds the answer on some orders to that on the `before` orders before them.
    #[doc(hidden)]
    fn append(all: &mut Self::Answer, before: usize, part: Self::Answer);
    /// Returns the answer that lets every order pass.
    fn pass(batch: Self::Batch<'_>) -> Self::Answer;
    /// Returns the answer that refuses every order.
    fn close(batch: Self::Batch<'_>) -> Self::Answer;
    /// Calls `then` with the batch that a fresh plugin is tried with.
    #[doc(hidden)]
    fn sample<R>(then: impl FnOnce(Self::Batch<'_>) -> R) -> R;
}

/// The function of one instance that decides, with its parameters.
pub(crate) struct Entry<W: World> {
    function: TypedFunc<W::Arguments, (Vec<W::Record>,)>,
    arguments: W::Arguments,
}

impl<W: World> Entry<W> {
    /// Finds the function.
    pub(crate) fn find(
        store: &mut Store<Guest>,
        instance: &Instance,
        interface: &str,
    ) -> wasmtime::Result<Self> {
        let function = function(store, instance, interface, W::KIND.function())?;
        Ok(Self { function, arguments: W::Arguments::default() })
    }

    /// Calls it with the facts of a batch.
    pub(crate) fn call(
        &mut self,
        store: &mut Store<Guest>,
        batch: W::Batch<'_>,
    ) -> wasmtime::Result<W::Raw> {
        W::fill(&mut self.arguments, batch);
        let (records,) = self.function.call(store, self.arguments.clone())?;
        Ok(W::raw(records))
    }
}

/// Finds a function of a plugin's interface.
pub(crate) fn function<P, R>(
    store: &mut Store<Guest>,
    instance: &Instance,
    interface: &str,
    name: &str,
) -> wasmtime::Result<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let missing = || wasmtime::Error::msg(format!("{name} is not there"));
    let at = instance.get_export_index(&mut *store, None, interface).ok_or_else(missing)?;
    let at = instance.get_export_index(&mut *store, Some(&at), name).ok_or_else(missing)?;
    instance.get_typed_func(&mut *store, at)
}

/// A list that is handed to the engine by value and filled again for the next call, so that no
/// call allocates.
pub(crate) type Buffer<T> = std::sync::Arc<Vec<T>>;

/// Fills a buffer anew.
pub(crate) fn fill<T: Clone>(buffer: &mut Buffer<T>, items: impl Iterator<Item = T>) {
    // The engine has dropped its own handle when its call ended; a copy is made if it has not.
    let list = std::sync::Arc::make_mut(buffer);
    list.clear();
    list.extend(items);
}
