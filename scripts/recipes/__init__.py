"""Parts of compare_recipes: the two recipes, their budgets, and the table of what they reach."""
