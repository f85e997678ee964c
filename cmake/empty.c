/* A module without sources yet still makes a library. */
typedef int empty_translation_unit;
