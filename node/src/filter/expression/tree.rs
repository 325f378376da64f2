//! Sizes of trees of expressions.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

/// How large a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub nodes: usize,
    /// Nodes from the root to the farthest leaf, both counted.
    pub depth: usize,
}

/// Measures a tree. Recurses as deep as the tree is.
pub(super) fn size(expr: &IdedExpr) -> Size {
    let mut size = Size::default();
    for_each_child(expr, &mut |child| {
        let Size { nodes, depth } = self::size(child);
        size.nodes += nodes;
        size.depth = size.depth.max(depth);
    });
    Size { nodes: size.nodes + 1, depth: size.depth + 1 }
}

fn for_each_child(expr: &IdedExpr, visit: &mut dyn FnMut(&IdedExpr)) {
    match &expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(visit),
        Expr::Comprehension(looped) => {
            let parts = [
                &looped.iter_range,
                &looped.accu_init,
                &looped.loop_cond,
                &looped.loop_step,
                &looped.result,
            ];
            parts.into_iter().for_each(visit);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entry_parts(&entry.expr, visit)),
        Expr::Select(select) => visit(&select.operand),
        Expr::Struct(made) => made.entries.iter().for_each(|entry| entry_parts(&entry.expr, visit)),
    }
}

fn entry_parts(entry: &EntryExpr, visit: &mut dyn FnMut(&IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => visit(&field.value),
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
    }
}
