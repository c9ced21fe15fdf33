"""Parts of the quickstart: the base's folder, the choice by memory, the answers, the sheet of questions."""
